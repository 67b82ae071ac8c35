"""What is done with logits that are torch tensors, on their device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from itx.models.contract import Arithmetic, Reduction, Rows
from itx.models.torch.memory import memory_watched
from itx.models.torch.reduction import reduce_rows


def _tensor(rows: Rows) -> Tensor:
    if not isinstance(rows, Tensor):
        raise TypeError(f"rows of another engine must be adopted first, not {type(rows).__name__}")
    return rows


class TorchArithmetic:
    """Rows are tensors [n, columns] on ``device``. Every method may raise MemoryExhaustedError."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def stack(self, parts: Sequence[Rows]) -> Rows:
        """Return the parts' rows as one block."""
        tensors = [_tensor(part) for part in parts]
        with memory_watched("a chunk of logits"):
            return tensors[0] if len(tensors) == 1 else torch.cat(tensors)

    def split(self, rows: Rows) -> list[Rows]:
        """Return each row as a block of its own."""
        return list(torch.split(_tensor(rows), 1))

    def argmax(self, rows: Rows) -> int:
        """Return the id with the highest logit of the last row; of equals the lowest id."""
        with memory_watched("choosing a token"):
            row = _tensor(rows)[-1]
            if row.device.type == "cpu":
                # numpy finds it 20 times faster (3 against 60 us of 49,152), and a NaN first, as torch does.
                return int(row.float().numpy().argmax())
            return int(row.argmax())

    def argmaxes(self, rows: Rows) -> list[int]:
        """Return the id with the highest logit of each row; of equals the lowest id."""
        with memory_watched("choosing tokens"):
            block = _tensor(rows)
            if block.device.type == "cpu":
                return [int(row.argmax()) for row in block.float().numpy()]
            found: list[int] = block.argmax(dim=1).tolist()
            return found

    def row(self, rows: Rows) -> NDArray[np.float64]:
        """Return the last row as float64."""
        with memory_watched("choosing a token"):
            values: NDArray[np.float64] = _tensor(rows)[-1].double().cpu().numpy()
        return values

    def export(self, rows: Rows) -> NDArray[np.float32]:
        """Return the rows as float32 on the host."""
        with memory_watched("a copy of logits"):
            values: NDArray[np.float32] = _tensor(rows).float().cpu().numpy()
        return values

    def adopt(self, rows: Rows, source: Arithmetic) -> Rows:
        """Return another engine's rows on this device."""
        with memory_watched("a scorer's logits beside the author's"):
            if isinstance(rows, Tensor):
                return rows.to(self.device)
            return torch.from_numpy(source.export(rows)).to(self.device)

    def reduce(self, author: Rows, scorers: Sequence[Rows], ids: Sequence[int], width: int) -> Reduction:
        """Reduce the rows that predict ``ids``; see the contract."""
        with memory_watched("comparing two blocks of logits"):
            return reduce_rows(_tensor(author), [_tensor(rows) for rows in scorers], ids, width)
