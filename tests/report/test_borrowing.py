"""Borrowed wording in every output: figures against a recount, the table's columns, Markdown and plain text."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Mapping

import msgspec
import pytest
from markdown_it import MarkdownIt

from itx.borrow.join import Joiner
from itx.records import Borrowing, Example, Mark, Model, Response, Run, Span, Trace
from itx.report.borrowing import say_borrowed, say_controls, summarise_borrowing
from itx.report.figures import Figures, summarise
from itx.report.markdown import write_markdown
from itx.report.plain import write_plain
from itx.report.summary import write_summary
from itx.report.table import tidy_rows, write_csv
from tests.borrow.fakes import Rows
from tests.support.traces import build_run, build_trace

SOURCE = Rows(
    [
        (
            "How did the siege of Oldmere end?",
            "The siege of Oldmere ended in 1642 with a truce signed in the old mill.",
        ),
        ("Where is the copper bridge?", "The copper bridge stands where two quiet rivers meet below Tarn <hill>."),
        ("What do otters eat?", "Otters crack shells on flat stones that they balance on their bellies."),
        ("How is clay fired?", "Clay hardens in the kiln and keeps its glaze for many centuries."),
        ("How are violins tuned?", "Violins have four strings that are tuned in perfect fifths."),
        ("Why do leaves fall?", "Maple leaves turn crimson before they drop to the wet pavement."),
        ("What do bees store?", "Bees gather nectar all summer and store honey for colder months."),
    ]
)
ANSWERS = [
    (
        "How did the siege of Newmere end?",
        "The siege ended when the walls fell.",
        "The siege of Newmere ended in 1642 with a truce signed in the old mill.",
        "The siege of Newmere ended in 1642, they say.",
    ),
    (
        "Where is the iron bridge?",
        "The iron bridge is near the town.",
        "The iron bridge stands where two quiet rivers meet below Tarn <hill>.",
        "It is in the town.",
    ),
    ("What is salt?", "Salt is a crystal.", "Salt is white.", "Bees gather nectar all summer, I think."),
]


def build() -> tuple[Run, list[Trace], dict[str, dict[str, Borrowing]]]:
    run = build_run(("lora", "full"))
    traces = [
        build_trace(str(number), prompt, {"base": base, "full": full, "lora": lora}, seed=number)
        for number, (prompt, base, full, lora) in enumerate(ANSWERS)
    ]
    traces.append(Trace(prompt_id="failed", prompt="p", error="no"))
    joiner = Joiner(SOURCE, k=2)
    found = {
        trace.prompt_id: {response.author: joiner.borrow(trace, response) for response in trace.responses}
        for trace in traces
    }
    return run, traces, found


RUN, TRACES, FOUND = build()


def find(trace: Trace) -> Mapping[str, Borrowing]:
    return FOUND[trace.prompt_id]


def at(trace: Trace, author: str) -> Response:
    response = trace.response(author)
    assert response is not None
    return response


def test_figures_agree_with_a_recount_of_the_lines() -> None:
    figures = summarise_borrowing(RUN, ((trace, find(trace)) for trace in TRACES))
    assert figures is not None
    assert set(figures.models) == {"base", "lora", "full"}
    assert figures.untraced == 0
    for author, model in figures.models.items():
        lines = [borrowings[author] for borrowings in FOUND.values() if author in borrowings]
        assert model.responses == len(lines) == 3
        assert model.words == sum(line.candidates for line in lines)
        assert model.borrowed == sum(line.borrowed for line in lines)
        assert model.distinct == sum(line.distinct for line in lines)
        assert model.rate == pytest.approx(100 * model.borrowed / model.words)
        assert model.raised == (None if author == "base" else sum(line.raised for line in lines))
        controls = {excess.control: excess for excess in model.excess}
        assert set(controls) == ({"random"} if author == "base" else {"base", "random"})
    full = figures.models["full"]
    # 1642, truce, signed, old, mill, ended; stands, two, quiet, rivers, meet, Tarn, hill, below at most.
    assert full.borrowed >= 10
    over = next(excess for excess in full.excess if excess.control == "base")
    base = [FOUND[str(number)]["base"] for number in range(3)]
    base_rate = 100 * sum(line.borrowed for line in base) / sum(line.candidates for line in base)
    assert full.rate is not None
    assert over.excess == pytest.approx(full.rate - base_rate)
    assert full.rows[0].row in {"rows.jsonl#0", "rows.jsonl#1"}
    assert [span.rise for span in full.spans] == sorted((span.rise for span in full.spans), reverse=True)
    (plain, random) = figures.differences
    assert (plain.first, plain.second, plain.control, random.control) == ("full", "lora", None, "random")
    lora = figures.models["lora"].rate
    assert lora is not None
    assert plain.difference == pytest.approx(full.rate - lora)


def test_the_cross_table_is_that_of_the_tidy_table() -> None:
    figures = summarise_borrowing(RUN, ((trace, find(trace)) for trace in TRACES))
    assert figures is not None
    rows = [row for row in tidy_rows(RUN, TRACES, find) if row["scorer"] == "base" and row["category"] != "eos"]
    for author in ("full", "lora"):
        own = [row for row in rows if row["author"] == author]
        model = figures.models[author]
        assert model.table is not None
        for category, table in [(None, model.table), *model.categories.items()]:
            counted = Counter(
                (row["shift"], row["borrow"] != "none") for row in own if category in {None, row["category"]}
            )
            for shift in ("shifted", "marginal", "unshifted"):
                cells = getattr(table, shift)
                assert (cells.borrowed, cells.other) == (counted[shift, True], counted[shift, False])
    assert figures.models["base"].table is None


def test_the_tables_columns_say_what_the_lines_say() -> None:
    rows = list(tidy_rows(RUN, TRACES, find))
    seen = set()
    for row in rows:
        borrowing = FOUND[str(row["prompt_id"])][str(row["author"])]
        position = row["position"]
        assert isinstance(position, int)
        covering = [span for span in borrowing.spans if span.start <= position < span.end]
        owner = borrowing.positions.get(position)
        if owner is not None:
            assert row["span_id"] == owner
            assert row["borrow"] == ("raised" if borrowing.spans[owner - 1].raised else "borrowed")
        else:
            assert row["borrow"] == "none"
            assert row["span_id"] in ({span.id for span in covering} or {None})
        seen.add((row["borrow"], row["span_id"] is None))
    assert {("raised", False), ("none", True), ("none", False)} <= seen
    # Without data both are empty, as for a response that was not traced.
    assert all(row["span_id"] is None and row["borrow"] is None for row in tidy_rows(RUN, TRACES))
    partly = list(tidy_rows(RUN, TRACES, lambda trace: {"full": find(trace)["full"]} if trace.error is None else {}))
    assert {row["borrow"] is None for row in partly if row["author"] == "base"} == {True}
    assert {row["borrow"] is None for row in partly if row["author"] == "full"} == {False}
    assert "raised" in "".join(write_csv(RUN, TRACES, find))


def test_the_bases_borrowed_words_are_never_raised() -> None:
    lines = [borrowings["base"] for borrowings in FOUND.values() if "base" in borrowings]
    assert all(line.raised == 0 and all(span.rise is None for span in line.spans) for line in lines)


def test_markdown_has_spans_rows_controls_tables_and_marks() -> None:
    borrowing = FOUND["0"]["full"]
    span = next(span for span in borrowing.spans if span.borrowed)
    place = {"time": "t", "prompt_id": "0", "author": "full", "start": span.start, "end": span.end}
    marks = [
        Mark(**place, verdict="hallucinated", note="not <b>so</b>"),
        Mark(**place, verdict="accepted", row="rows.jsonl#0"),
        Mark(**{**place, "author": "lora"}, verdict="fine", note="elsewhere"),
    ]
    text = write_markdown(RUN, TRACES[:1], find_borrowings=find, marks=marks)
    assert f"`[{span.id}` ended in 1642 with a truce signed in the old mill `]`" in text
    assert "<b>ended in 1642 with a truce signed in the old mill</b>" in text
    assert "`rows.jsonl#0` (marked accepted)" in text
    assert "marked hallucinated, “not \\<b>so\\</b>”" in text
    of_full, of_lora = (text.split(f"Borrowed wording of `{name}`")[1].split("###")[0] for name in ("full", "lora"))
    assert "elsewhere" not in of_full
    assert "elsewhere" in of_lora
    assert "| positions | of borrowed words | others |" in text
    assert f"{say_borrowed(borrowing)} —" in text
    assert f"Controls: {say_controls(borrowing.null)}." in text
    assert "Two tunings, paired by prompt" in text
    assert "Borrowed wording" not in write_markdown(RUN, TRACES[:1])


def test_no_mark_is_left_out_of_markdown() -> None:
    trace = TRACES[0]
    borrowing = FOUND["0"]["full"]
    span = next(span for span in borrowing.spans if span.borrowed)
    many = [Example(row=f"rows.jsonl#{number}", text="old mill", start=0, end=8) for number in range(4)]
    spans = [msgspec.structs.replace(each, examples=many) if each is span else each for each in borrowing.spans]
    changed = {"full": msgspec.structs.replace(borrowing, spans=spans)}
    place = {"time": "t", "prompt_id": "0", "author": "full", "start": span.start, "end": span.end}
    marks = [
        Mark(**place, verdict="rejected", row="rows.jsonl#3"),
        Mark(**place, verdict="accepted", row="gone|.jsonl#9"),
        Mark(**{**place, "start": 0, "end": 1}, verdict="fine", note="first <b>"),
        Mark(**{**place, "start": 900, "end": 901}, verdict="hallucinated"),
    ]
    text = write_markdown(RUN, [trace], find_borrowings=lambda _: changed, marks=marks)
    assert "`rows.jsonl#1`: " in text
    assert "`rows.jsonl#2`: " not in text
    assert "`rows.jsonl#3` (marked rejected): " in text
    assert "`gone\\|.jsonl#9` (marked accepted)" in text
    assert "- Positions 0 to 0, not a span now: `The` marked fine, “first \\<b>”" in text
    assert "- Positions 900 to 900, not a span now: marked hallucinated" in text
    # Also of a response that is not traced any more.
    bare = write_markdown(RUN, [trace], find_borrowings=lambda _: {}, marks=marks)
    assert bare.count("not a span now") == 4


def test_rows_are_strangers_in_markdown() -> None:
    hostile = "The copper bridge stands where two quiet rivers meet below `x` | [a](http://b.c) <img src=x> \x1b[31m."
    source = Rows([("Where is the copper bridge?", hostile), *[("q", row.response) for row in SOURCE.rows[2:]]])
    trace = build_trace("1", "Where is the iron bridge?", {"base": "x", "full": f"It is: {hostile}"})
    borrowing = Joiner(source, k=1).borrow(trace, at(trace, "full"))
    assert borrowing.borrowed
    text = write_markdown(RUN, [trace], find_borrowings=lambda _: {"full": borrowing})
    assert "\x1b" not in text
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    tags = set(re.findall(r"<(\w+)", page))
    assert "b" in tags
    assert not tags & {"img", "a", "script"}
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert shown.count(hostile[:-1].replace("\x1b", "␛")) >= 4


def test_the_report_and_its_json_have_the_section() -> None:
    figures = summarise(RUN, TRACES)
    assert figures.borrowing is None
    assert "Borrowed wording" not in write_summary(RUN, figures)
    borrowing = summarise_borrowing(RUN, ((trace, find(trace)) for trace in TRACES))
    whole = msgspec.structs.replace(figures, borrowing=borrowing)
    text = write_summary(RUN, whole)
    assert "## Borrowed wording" in text
    assert "base's own answers, the same rows" in text
    stored = json.loads(msgspec.json.encode(whole))
    assert {"words", "borrowed", "rate", "excess", "table", "rows", "spans"} <= set(
        stored["borrowing"]["models"]["full"]
    )
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Figures) == whole


def test_plain_text_says_what_was_borrowed() -> None:
    text = write_plain(RUN, TRACES[0], 100, borrowings=FOUND["0"])
    assert say_borrowed(FOUND["0"]["full"]) in text
    assert "ended in 1642 with a truce signed in the old mill: rows.jsonl#0" in " ".join(text.split())
    assert all(len(line) <= 40 for line in write_plain(RUN, TRACES[0], 40, True, FOUND["0"]).splitlines())
    assert "borrowed" not in write_plain(RUN, TRACES[0], 100)


def test_nothing_traced_is_no_section_and_what_is_missing_is_counted() -> None:
    assert summarise_borrowing(RUN, ((trace, {}) for trace in TRACES)) is None
    figures = summarise_borrowing(RUN, ((trace, find(trace) if trace.prompt_id == "0" else {}) for trace in TRACES))
    assert figures is not None
    assert figures.untraced == 6
    assert figures.models["full"].excess[0].low is None


def test_full_tuning_comes_before_a_lora() -> None:
    plain = [Model(name=name, role="tuned", reference=name, engine="torch", method=None) for name in ("a", "b")]
    run = build_run(("full", "lora"))
    for models, wanted in ((run.tuned, ("full", "lora")), (run.tuned[::-1], ("full", "lora")), (plain, None)):
        changed = msgspec.structs.replace(run, models=[run.base, *models])
        figures = summarise_borrowing(changed, ((trace, find(trace)) for trace in TRACES if wanted))
        if wanted is not None:
            assert figures is not None
            assert (figures.differences[0].first, figures.differences[0].second) == wanted


def test_a_failed_prompt_takes_no_part_though_its_answers_are_kept() -> None:
    broken = msgspec.structs.replace(TRACES[0], prompt_id="9", error="a token that base lacks")
    pairs = [(trace, find(trace)) for trace in TRACES]
    whole = summarise_borrowing(RUN, pairs)
    assert summarise_borrowing(RUN, [*pairs, (broken, find(TRACES[0]))]) == whole


def test_a_position_in_several_spans_has_its_owner_else_the_borrowed_else_the_rarest_else_the_longest() -> None:
    trace = build_trace("1", "p", {"base": "x", "full": "The battle was fought near Waterloo in 1815 between two."})

    def span(number: int, start: int, end: int, rows: int, borrowed: bool) -> Span:
        return Span(id=number, start=start, end=end, text="", rows=rows, borrowed=borrowed)

    spans = [span(1, 0, 9, 2, False), span(2, 1, 3, 9, True), span(3, 1, 5, 2, False), span(4, 2, 8, 1, False)]
    borrowing = Borrowing(prompt_id="1", author="full", spans=spans, positions={2: 4, 7: 1})
    rows = list(tidy_rows(RUN, [trace], lambda _: {"full": borrowing}))
    found = [row["span_id"] for row in rows if row["author"] == "full"]
    assert found[:10] == [1, 2, 4, 4, 4, 4, 4, 1, 1, None]
    assert [row["borrow"] for row in rows if row["author"] == "full"][1:4] == ["none", "borrowed", "none"]


def test_brackets_of_spans_that_overlap_are_one_piece_of_code() -> None:
    """Emphasis marks side by side, or beside a letter, would be shown as asterisks."""
    trace = TRACES[0]
    borrowing = FOUND["0"]["full"]
    span = next(span for span in borrowing.spans if span.borrowed and span.end - span.start >= 4)
    middle = span.start + 2
    halves = [
        msgspec.structs.replace(span, id=7, end=middle),
        msgspec.structs.replace(span, id=8, start=middle - 1),
    ]
    text = write_markdown(
        RUN, [trace], find_borrowings=lambda _: {"full": msgspec.structs.replace(borrowing, spans=halves)}
    )
    assert "`[7` " in text
    assert "`][8` " in text
    assert "``" not in text.split("`[7` ")[1].split("\n")[0]
