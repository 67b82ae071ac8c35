"""What the header says, and how far loading is."""

from __future__ import annotations

from pathlib import PurePath

from rich.style import Style
from rich.text import Text

from itx.records import ContextPolicy, Decoding, Model
from itx.tui.live import LiveSession
from itx.tui.palette import Palette, Signs
from itx.tui.session import Session
from itx.tui.widgets.bars import Part
from itx.tui.wording import cut, draw_bar


def name_decoding(decoding: Decoding) -> str:
    """Return how tokens are chosen, in a few words."""
    if decoding.temperature == 0:
        return "greedy"
    words = [f"temperature {decoding.temperature:g}"]
    if decoding.top_p < 1:
        words.append(f"top-p {decoding.top_p:g}")
    if decoding.top_k > 0:
        words.append(f"top-k {decoding.top_k}")
    return " ".join([*words, f"seed {decoding.seed}"])


def name_context(context: ContextPolicy) -> str:
    """Return the context policy in a few words."""
    return "same context" if context.policy == "same" else f"context {context.policy}"


def name_model(model: Model) -> str:
    """Return a model's name with the last part of where it came from."""
    reference = PurePath(model.reference).name or model.reference
    reference = reference.rpartition(":")[2] or reference
    return model.name if reference == model.name else f"{model.name} {cut(reference, 32)}"


def write_header(session: Session, index: int, palette: Palette, signs: Signs) -> tuple[list[Part], list[Part]]:
    """Return the header's parts: from the left, and from the right."""
    parts = [Part("itx", palette.accent + Style(bold=True))]
    run = session.run
    if run is not None:
        full, short = (
            f" {signs.swap} ".join(names)
            for names in (map(name_model, run.models), (model.name for model in run.models))
        )
        parts.append(Part(f" {full} ", palette.strong, shorter=f" {short}"))
        facts = [name_decoding(run.decoding), name_context(run.context)]
        if run.data is not None:
            facts.append(f"{PurePath(run.data.reference).name} ({run.data.rows:,})")
        if run.warnings:
            facts.append("1 warning" if len(run.warnings) == 1 else f"{len(run.warnings)} warnings")
        facts.append(f"at most {run.decoding.max_new_tokens} tokens")
        parts.extend(Part(f"{signs.dot} {fact}" if place else fact, palette.faint) for place, fact in enumerate(facts))
    right = [Part(f"{index + 1}/{len(session.items)}", palette.strong)] if session.items else []
    activity = name_activity(session, index, signs)
    if activity:
        right.insert(0, Part(activity, palette.accent))
    return parts, right


def name_activity(session: Session, index: int, signs: Signs) -> str:
    """Return what goes on now, or nothing."""
    doing = _name_comparison(session, index, signs)
    tracing = session.provenance.tracing
    if tracing is not None and tracing.loading is not None:
        step = tracing.loading
        share = f" {100 * step.done / step.total:.0f} %" if step.total > 0 else ""
        return f"{doing}, rows{share}" if doing else f"{signs.running} reading rows{share}"
    return doing


def _name_comparison(session: Session, index: int, signs: Signs) -> str:
    if not isinstance(session, LiveSession):
        return ""
    if session.loading is not None:
        step = session.loading
        return f"{signs.running} loading" + (f" {100 * step.done / step.total:.0f} %" if step.total > 0 else "")
    if session.running is not None:
        where = "" if session.running == index else f" prompt {session.running + 1}"
        return f"{signs.running} stopping{where}" if session.stopping else f"{signs.running} writing{where}"
    return ""


def write_progress(session: Session, palette: Palette, signs: Signs) -> list[Text]:
    """Return lines that say how far loading is, or why it failed; none where models are loaded."""
    if not isinstance(session, LiveSession):
        return []
    if session.failure is not None and session.run is None:
        lines = [Text("The models could not be loaded.", style=palette.alert), Text(session.failure.cause)]
        if session.failure.remedy:
            lines.append(Text(session.failure.remedy, style=palette.accent))
        return [*lines, Text("q quits.", style=palette.faint)]
    step = session.loading
    if step is None:
        return []
    lines = [Text(f"Loading: {cut(step.what, 60)}", style=palette.strong)]
    if step.total > 0:
        share = step.done / step.total
        bar = Text(draw_bar(share, 30, signs.bar), style=palette.accent)
        lines.append(Text.assemble(bar, (f" {share * 100:3.0f} %", palette.faint)))
    if not session.items:
        lines.append(Text("The first prompt can be written meanwhile.", style=palette.faint))
    return lines
