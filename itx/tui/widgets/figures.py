"""The panel of a response's figures: the KL curve with the cursor on it, class counts, totals."""

from __future__ import annotations

from rich.text import Text

from itx.report.spans import measure_rise
from itx.report.wording import say_count, say_nats
from itx.tui.palette import Palette, Signs
from itx.tui.survey import Share, share_of
from itx.tui.view import View
from itx.tui.widgets.panel import Panel
from itx.tui.wording import draw_bar, draw_curve, wrap_text


class FiguresPanel(Panel):
    """Figures of the view's response. The end of a response is shown on the curve but never counted."""

    def __init__(self, palette: Palette, signs: Signs, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.signs = signs
        self.view: View | None = None
        self.total: Share | None = None
        self._state: tuple[object, ...] = ()

    def show(self, view: View, total: Share | None = None) -> None:
        """Show the figures of ``view``, and what of all responses of its author is borrowed."""
        state = (*view.state, view.exchange.status if view.exchange is not None else "", total)
        if state != self._state:
            self.view, self.total, self._state = view, total, state
            self.redraw()

    def write_lines(self, width: int) -> list[Text]:
        """Return counts, then the curve in what room is left, then totals."""
        faint = self.palette.faint
        view = self.view
        score = view.score if view is not None else None
        if view is None or view.answer is None or score is None or not score.rank:
            none = [Text(self._write_none(view), style=faint)] if view is not None else []
            return [*none, *(self._write_borrowed(view, width) if view is not None else [])]
        counts = [*self._write_counts(view, width), *self._write_borrowed(view, width)]
        totals = self._write_totals(view, width)
        height = max(1, min(10, self.view_height - len(counts) - len(totals) - 1))
        return [*self._write_curve(view, width, height), *counts, *totals]

    @staticmethod
    def _write_none(view: View) -> str:
        awaited = view.exchange is not None and view.exchange.status in ("waiting", "running")
        return "No figures yet." if awaited else "No figures."

    def _write_curve(self, view: View, width: int, height: int) -> list[Text]:
        assert view.score is not None
        values = [value for value in view.score.kl_author_scorer if value is not None]
        if not values:
            return []
        peak = say_nats(max(values))
        margin = max(len(peak), 2) + 1
        rows, spans = draw_curve(values, width - margin, height, self.signs.column)
        ranks = view.score.rank
        styles = [
            self.palette.alert
            if any(view.thresholds.classify(rank) == "shifted" for rank in ranks[start:end])
            else self.palette.faint
            for start, end in spans
        ]
        lines = []
        for index, row in enumerate(rows):
            label = peak if index == 0 else "0" if index == len(rows) - 1 else ""
            line = Text().append(label.rjust(margin - 1) + " ", self.palette.faint)
            for sign, style in zip(row, styles, strict=True):
                line.append(sign, style)
            lines.append(line)
        pointer = Text().append("KL".rjust(margin - 1) + " ", self.palette.faint)
        for start, end in spans:
            under = view.cursor is not None and start <= view.cursor < end
            pointer.append(self.signs.pointer if under else " ", self.palette.accent)
        return [*lines, pointer]

    def _write_counts(self, view: View, width: int) -> list[Text]:
        assert view.answer is not None
        counts = view.answer.counts(view.scorer, view.thresholds)
        total = sum(counts.values())
        bounds = view.thresholds
        low, high = bounds.unshifted, bounds.marginal
        ranges = {
            "unshifted": "rank 1" if low == 1 else f"rank 1-{low}",
            "marginal": f"rank {low + 1}-{high}" if high > low + 1 else f"rank {high}" if high > low else "none",
            "shifted": f"rank > {high}",
        }
        lines = []
        column = max(map(len, ranges.values())) + 1
        if width < 21 + column:  # no room to say what the classes mean: help does
            ranges, column = dict.fromkeys(ranges, ""), 0
        room = max(0, width - 29 - column)
        for name, count in counts.items():
            share = count / total if total else 0.0
            line = Text()
            line.append(name, self.palette.shift(name))
            line.append(" " * (10 - len(name)) + ranges[name].ljust(column), self.palette.faint)
            line.append(f"{count:>5}")
            line.append(f"{share * 100:>4.0f} %  ", self.palette.faint)
            line.append(
                draw_bar(share, room, self.signs.bar), self.palette.alert if name == "shifted" else self.palette.faint
            )
            lines.append(line)
        return lines

    def _write_borrowed(self, view: View, width: int) -> list[Text]:
        """Return the borrowed words of the response and of all of its author's, each with what a control has."""
        lines: list[Text] = []
        if view.borrowing is not None and (view.settled or view.borrowing.candidates):
            share = share_of(view.borrowing)
            said = f" of {share.words} words{'' if view.settled else ' so far'}"
            counted = view.settled  # what is raised is known, and a control counted, when the response is whole
            extra = f", raised {view.borrowing.raised}" if share.borrowed and counted else ""
            lines.append(
                self._write_share("borrowed ", f"{share.borrowed}", said, share, extra, width, controlled=counted)
            )
        if self.total is not None and self.total.words:
            total = self.total
            rate = f"{100 * total.borrowed / total.words:.1f} %"
            lines.append(self._write_share("session ", rate, f" of {total.words:,} words", total, "", width, rate=True))
        return lines

    def _write_share(
        self,
        label: str,
        figure: str,
        said: str,
        share: Share,
        extra: str,
        width: int,
        *,
        rate: bool = False,
        controlled: bool = True,
    ) -> Text:
        """Return a figure with its control; what does not fit is left out, what explains first."""
        faint = self.palette.faint
        null = ""
        if share.expected is not None:
            null = f" (null {100 * share.expected / share.words:.1f} %)" if rate else f" (null {share.expected:.1f})"
        elif share.words and controlled:
            null = " (no null)"
        named = null[:-1] + f", {share.control})" if share.control else null
        for name, middle, control, tail in (
            (label, said, named, extra),
            (label, said, null, extra),
            (label, "", named, extra),
            (label, "", null, extra),
            (label, "", null, ""),
            ("all " if rate else label, "", null, ""),
            (label, "", "", ""),
        ):
            if len(name) + len(figure) + len(middle) + len(control) + len(tail) <= width:
                break
        label = name
        line = Text().append(label, self.palette.strong if not rate else faint).append(figure, self.palette.strong)
        return line.append(middle, faint).append(control).append(tail, faint)

    def _write_spans(self, view: View, width: int) -> list[Text]:
        """Return what two tokenizers are compared by: spans of the text, of which some are one token of each."""
        assert view.answer is not None
        assert view.score is not None
        spans = [span for span in view.score.spans if view.answer.end is None or span.author_start != view.answer.end]
        pairs = sum(span.is_pair for span in spans)
        said = f"Other tokenizer: {say_count(len(spans), 'common span')}, {pairs:,} one token of each"
        if spans:
            mean = sum(map(measure_rise, spans)) / len(spans)
            said += f"; rise {mean:+.2f} nats a span"
        return wrap_text(
            Text(f"{said}. Ranks are of single tokens; no KL; not exact.", style=self.palette.faint), width
        )

    def _write_totals(self, view: View, width: int) -> list[Text]:
        assert view.answer is not None
        assert view.score is not None
        figures = enumerate(view.score.kl_author_scorer)
        counted = [value for position, value in figures if value is not None and position != view.answer.end]
        if not counted:
            return self._write_spans(view, width) if view.score.aligned else []
        exact = view.score.exact
        parts = [
            ("KL mean ", say_nats(sum(counted) / len(counted), exact)),
            ("  total ", say_nats(sum(counted), exact)),
            (" nats, ", say_count(len(counted), "token")),
            (", end not counted", "") if view.answer.end is not None else ("", ""),
        ]
        line = Text()
        for label, figure in parts:
            if line.cell_len + len(label) + len(figure) > width:
                break
            line.append(label, self.palette.faint).append(figure)
        return [line]
