"""The words around the panes: their titles, what stands at their foot, and what stands in an empty one."""

from __future__ import annotations

from rich.text import Text

from itx.records import Run, Thresholds
from itx.report.wording import name_ending, say_count
from itx.text import sanitise
from itx.tui.answers import Answer, Exchange
from itx.tui.palette import Palette, Signs
from itx.tui.session import Session
from itx.tui.status import write_progress

METHODS = {"lora": "LoRA (paper: LFT)", "full": "full tuning (paper: SFT)"}
ENDINGS = {"whole": "", "limit": "cut at the limit", "window": "cut at the window's end", "cancelled": "stopped"}


class Words:
    """Writes them for a session."""

    def __init__(self, session: Session, palette: Palette, signs: Signs) -> None:
        self.session = session
        self.palette = palette
        self.signs = signs

    def name(self, run: Run | None, author: str) -> str:
        """Return a model's name with how it was tuned."""
        model = next((model for model in run.models if model.name == author), None) if run is not None else None
        method = METHODS.get(model.method or "") if model is not None else None
        return f"{author}: {method}" if method else author

    def describe(self, answer: Answer | None, scorer: str, thresholds: Thresholds, width: int) -> str:
        """Return what was shifted for whom, and how the response ended, in about ``width`` cells."""
        if answer is None:
            return ""
        parts = []
        if scorer in answer.scores:
            counts = answer.counts(scorer, thresholds)
            parts.append(f"{counts['shifted']} of {sum(counts.values())} shifted")
        if answer.given:
            parts.append("given")
        if answer.finish is None and answer.end is None:
            parts.append(say_count(answer.length, "token") if answer.length else "")
        else:
            run = self.session.run
            limit = run.decoding.max_new_tokens if run is not None else answer.length
            parts.append(ENDINGS[name_ending(answer.finish, answer.length, limit, given=answer.given)])
        whole = ", ".join(filter(None, parts))
        whom = whole.replace("shifted", f"shifted for {scorer}", 1)
        return whom if len(whom) <= width - 4 else whole

    def message(self, exchange: Exchange | None, author: str, answer: Answer | None, *, main: bool) -> list[Text]:
        """Return what stands in the pane of ``author`` instead of a text; nothing where there is a text."""
        faint = self.palette.faint
        progress = write_progress(self.session, self.palette, self.signs)
        if progress and (exchange is None or not exchange.answers):
            return progress if main else []
        if exchange is None:
            return [Text("p writes a prompt." if self.session.live else "This run has no prompts.", style=faint)]
        if exchange.error is not None and (answer is None or not answer.length):
            cause, _, remedy = sanitise(exchange.error).partition("\n")
            lines = [Text("This prompt failed.", style=self.palette.alert), Text(cause)]
            return [*lines, Text(remedy, style=faint)] if remedy else lines
        if exchange.status == "waiting":
            return [Text("Waiting for its turn.", style=faint)]
        if answer is None:
            return [Text(f"{author} wrote no response to this prompt.", style=faint)]
        if not answer.length and answer.finish is not None:
            return [Text(f"{author} wrote nothing.", style=faint)]
        if not answer.length and any(other.length for other in exchange.answers.values()):
            return [Text(f"{author} has not begun yet.", style=faint)]
        return []
