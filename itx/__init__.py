"""itx: what tuning changed in a language model, token by token.

For Python programs: ``itx.run`` compares and records, ``itx.open_run`` reads what was recorded. Nothing is imported
before one of them is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itx.version import VERSION

if TYPE_CHECKING:
    from itx.api import RecordedRun, open_run, run

__version__ = VERSION
__all__ = ["RecordedRun", "__version__", "open_run", "run"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from itx import api

        return getattr(api, name)
    raise AttributeError(f"module 'itx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
