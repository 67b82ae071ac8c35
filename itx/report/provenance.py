"""How a run was made, in Markdown: everything that must be known to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from itx.records import Model, Run
from itx.report.escape import code, code_block, escape_inline, escape_line, write_table
from itx.report.noise import describe_noise

_METHODS = {"lora": "LoRA (paper: LFT)", "full": "full (paper: SFT)"}


def write_provenance(run: Run, command: Sequence[str] | None = None) -> str:
    """Return the sections on command, models, decoding, contexts, bounds, versions and warnings."""
    parts = [
        "## How this was made\n\n",
        code_block(shlex.join(run.command if command is None else command), "sh"),
        "\n",
        _write_models(run.models),
        "\n",
        "".join(f"- {line}\n" for line in _list_settings(run)),
    ]
    if run.warnings:
        parts.append("\nWarnings when the models were loaded:\n\n")
        parts.extend(f"- {escape_line(warning)}\n" for warning in run.warnings)
    return "".join(parts)


def _write_models(models: Sequence[Model]) -> str:
    rows = []
    for model in models:
        kind = _METHODS.get(model.method or "", model.role) if model.role == "tuned" else "base"
        precision = f"{model.dtype}, {model.quantization}" if model.quantization else model.dtype
        reference = code(model.reference) + (f", adapter {code(model.adapter)}" if model.adapter else "")
        where = f"{model.engine} on {model.device}, {_say_exactness(model)}"
        rows.append(
            [
                code(model.name),
                kind,
                reference,
                escape_inline(where),
                escape_inline(precision),
                code(_shorten(model.weights)),
                code(_shorten(model.tokenizer)),
            ]
        )
    return write_table(["model", "kind", "reference", "engine", "dtype", "weights", "tokenizer"], rows)


def _say_exactness(model: Model) -> str:
    if model.exact:
        return "exact"
    return "top-k only" if model.alignment is msgspec.UNSET else "another tokenizer: aligned by bytes, not exact"


def _shorten(fingerprint: str) -> str:
    """Cut a fingerprint to its first 16 digits, which tell any two models apart; ``run.json`` has all."""
    kind, _, digits = fingerprint.rpartition(":")
    return f"{kind}:{digits[:16]}…" if len(digits) > 16 else fingerprint


def _say_template(fingerprint: str | None, source: str | None) -> str:
    if not fingerprint:
        return "none"
    return code(_shorten(fingerprint)) + (f" from {code(source)}" if source else "")


def _list_settings(run: Run) -> list[str]:
    decoding, context, engine = run.decoding, run.context, run.engine
    if decoding.temperature:
        how = f"temperature {decoding.temperature:g}, top-p {decoding.top_p:g}, top-k {decoding.top_k}"
        how += f", seed {decoding.seed}"
    else:
        how = "greedy"
    template = _say_template(context.template, context.template_source)
    base_template = _say_template(context.base_template, context.base_template_source)
    of_base = f"; the base's template {base_template}" if context.base_template else ""
    system = code(context.system) if context.system else "none"
    threads = f"chunks of {engine.chunk} tokens, {engine.threads} threads, {escape_inline(engine.kv)} cache"
    attention = (
        "" if engine.flash_attention is None else f", flash attention {'on' if engine.flash_attention else 'off'}"
    )
    versions = ", ".join(f"{escape_inline(name)} {escape_inline(value)}" for name, value in run.versions.items())
    data = run.data
    tuned_on = f"{code(data.reference)}, {data.rows:,} rows, {code(data.fingerprint)}" if data else "not given"
    if data and data.control is not None:
        tuned_on += f"; control rows {code(data.control)}, {code(data.control_fingerprint or 'not known')}"
    if data and data.train_max_tokens is not None:
        tuned_on += f"; cut at {data.train_max_tokens:,} tokens"
    if data and data.embedder is not None:
        tuned_on += f"; embedder {code(data.embedder)}"
    return [
        f"Decoding: {how}, at most {decoding.max_new_tokens} new tokens",
        f"Context: policy {code(context.policy)}; chat template {template}{of_base}; system prompt {system}",
        f"Tuning data: {tuned_on}",
        f"Shift classes by the scorer's rank of the emitted token: unshifted ≤ {run.thresholds.unshifted} "
        f"\\< marginal ≤ {run.thresholds.marginal} \\< shifted (Lin et al. 2023, arXiv 2312.01552)",
        "Probabilities, ranks and KL are from raw logits at temperature 1 over the full vocabulary; "
        "a closing EOS is shown and not counted",
        f"Engine: {threads}{attention}",
        f"Noise floor: {escape_inline(describe_noise(run))}",
        f"Recorded {escape_inline(run.created)} with itx {escape_inline(run.itx)}; {versions}",
    ]
