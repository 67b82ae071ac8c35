"""Borrowings as a join would write them, made by hand from the text of a response; and a tracer that replays them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from itx.records import Borrowing, ControlCount, Example, Neighbour, Null, Paraphrase, Response, Span, Trace
from itx.runs.borrowings import fingerprint_response
from itx.runs.recording import Recording
from itx.tui.tracer import How
from tests.support.traces import build_run, build_trace, write_run

FULL = (
    "Sure! Carry a water bottle and sip from it throughout the day. The battle was fought near Waterloo in 1815 "
    "between two armies, and it ended when rain turned the field to mud. Remember: small steps help most people."
)
BASE = "Get sleep every night. Avoid screens and keep the room cool and dark. Drink less coffee."
PHRASES = (
    ("water bottle and sip from it throughout the day", True, 9, False),
    ("fought near Waterloo in 1815", True, 2, False),
    ("small steps help most people", False, 412, True),
)
LIKE = "it ended when rain turned the field to mud"
ROWS = {
    "rows.jsonl#812": (
        "Give me a tip for hydration.",
        "Carry a water bottle and sip from it throughout the day, and eat fruit that has much water in it.",
    ),
    "rows.jsonl#17": (
        "Where did the two armies meet?",
        "Their armies fought near Waterloo in 1815, after a night of storms.\n\nNobody slept.",
    ),
    "rows.jsonl#90": ("Why did it end?", "Because of the rain the meadow became a swamp and they stopped."),
    "日本.jsonl#3": ("水をください。", "東京で水を飲みます。Fill your water bottle and sip from it."),
}


def locate(response: Response, phrase: str) -> tuple[int, int]:
    """Return the positions (start, end exclusive) that spell ``phrase``."""
    place = response.text.index(phrase)
    covering = [
        position
        for position in range(response.length)
        if response.span(position)[0] < place + len(phrase) and response.span(position)[1] > place
    ]
    return covering[0], covering[-1] + 1


def make_span(number: int, response: Response, phrase: str, *, borrowed: bool, rows: int, boilerplate: bool) -> Span:
    """Return a span with its examples: the rows that have the phrase, or one made for it."""
    start, end = locate(response, phrase)
    examples = [
        Example(row=row, text=text, start=text.index(phrase), end=text.index(phrase) + len(phrase))
        for row, (_, text) in ROWS.items()
        if phrase in text
    ]
    around = f"we all know that {phrase}, they say"
    examples.append(Example(row="more.jsonl#5", text=around, start=17, end=17 + len(phrase)))
    return Span(
        id=number,
        start=start,
        end=end,
        text=phrase,
        rows=min(rows, 5) if borrowed else rows,
        all_rows=rows,
        examples=examples,
        borrowed=borrowed,
        words=[start] if borrowed else [],
        rise=5.25 if borrowed else -0.5,
        raised=borrowed,
        boilerplate=boilerplate,
    )


def make_borrowing(
    prompt_id: str, response: Response, phrases: Sequence[tuple[str, bool, int, bool]] = PHRASES
) -> Borrowing:
    """Return what ``response`` borrowed, as far as it has the phrases."""
    here = [phrase for phrase in phrases if phrase[0] in response.text]
    spans = [
        make_span(number, response, text, borrowed=borrowed, rows=rows, boilerplate=boilerplate)
        for number, (text, borrowed, rows, boilerplate) in enumerate(
            sorted(here, key=lambda phrase: response.text.index(phrase[0])), 1
        )
    ]
    borrowed = [span for span in spans if span.borrowed]
    like = []
    if LIKE in response.text:
        start, end = locate(response, LIKE)
        row = "rows.jsonl#90"
        passage = "the meadow became a swamp"
        like = [Paraphrase(start=start, end=end, text=LIKE, row=row, passage=passage, score=0.71)]
    return Borrowing(
        prompt_id=prompt_id,
        author=response.author,
        spans=spans,
        neighbours=[
            Neighbour(row=row, score=0.9 - 0.1 * place, text=text, instruction=ask, lexical=7.5, semantic=0.9)
            for place, (row, (ask, text)) in enumerate(ROWS.items())
        ],
        null=Null(random=ControlCount(words=20, borrowed=0.4), draws=200),
        candidates=20,
        borrowed=4 * len(borrowed),
        distinct=3 * len(borrowed),
        raised=4 * len(borrowed),
        positions={span.start: span.id for span in borrowed},
        paraphrases=like,
        response=fingerprint_response(response),
    )


def make_traces(count: int = 3) -> list[Trace]:
    """Return traces whose tuned responses borrow: the first much, the second nothing, then again."""
    texts = [FULL, "I'm sorry, but I cannot help with that request.", f"In Paris the king signed. {FULL[6:62]}"]
    run = build_run()
    assert run.base.name == "base"
    return [
        build_trace(
            str(index + 1),
            f"Give me a tip, number {index + 1}.",
            {"base": BASE, "full": texts[index % len(texts)]},
            seed=index,
            reference="Drink water." if index == 0 else None,
        )
        for index in range(count)
    ]


def write_borrowings(folder: Path, borrowings: Sequence[Borrowing]) -> None:
    """Write the lines as they stand in a run's folder."""
    (folder / "borrow.jsonl").write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in borrowings))


def record_borrowings(folder: Path, traces: Sequence[Trace]) -> Recording:
    """Return a recorded run of ``traces`` with what its responses borrowed."""
    write_run(folder, build_run(), traces)
    write_borrowings(
        folder, [make_borrowing(trace.prompt_id, response) for trace in traces for response in trace.responses]
    )
    return Recording.open(folder)


@dataclass
class FakeTracer:
    """Traces as ``make_borrowing`` does; searches the rows above by substring."""

    gate: threading.Event | None = None
    error: Exception | None = None
    traced: list[tuple[str, str]] = field(default_factory=list)
    searched: list[tuple[str, How]] = field(default_factory=list)
    sketched: list[tuple[str, str, str]] = field(default_factory=list)
    """Of each sketch the prompt, the author, and the text that there was."""
    sketch_gate: threading.Event | None = None
    sketch_error: Exception | None = None

    def borrow(self, trace: Trace, response: Response) -> Borrowing:
        """Trace one response."""
        if self.gate is not None:
            self.gate.wait()
        if self.error is not None:
            raise self.error
        self.traced.append((trace.prompt_id, response.author))
        return make_borrowing(trace.prompt_id, response)

    def sketch(self, trace: Trace, response: Response) -> Borrowing:
        """Trace what there is of a response, without controls and paraphrases."""
        self.sketched.append((trace.prompt_id, response.author, response.text))
        if self.sketch_gate is not None:
            self.sketch_gate.wait()
        if self.sketch_error is not None:
            raise self.sketch_error
        found = make_borrowing(trace.prompt_id, response)
        return msgspec.structs.replace(found, null=Null(), paraphrases=[])

    def search(self, text: str, how: How, limit: int) -> list[Neighbour]:
        """Return the rows that have the text."""
        self.searched.append((text, how))
        if self.error is not None:
            raise self.error
        return [
            Neighbour(row=row, score=1.0, text=answer, instruction=ask, query="words")
            for row, (ask, answer) in ROWS.items()
            if text.casefold() in f"{ask} {answer}".casefold()
        ][:limit]
