"""The join on hand-made rows, where every borrowed word is known, and against a plain recount."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.borrow.category import name_words, split_words
from itx.borrow.join import Joiner, is_boilerplate, join
from itx.borrow.null import DRAWS, Pool
from itx.borrow.words import count_borrowed, read_words
from itx.data.folding import fold, fold_words
from itx.data.information import is_content
from itx.records import Borrowing, Message, Response, Score, Thresholds, Trace
from itx.runs.borrowings import check_borrowing, fingerprint_response
from tests.borrow.fakes import Rows, brute
from tests.support.traces import build_trace

FILLER = [
    "Bees gather nectar in summer and store honey for the cold months.",
    "A kettle whistles once the water inside starts boiling.",
    "Maple leaves turn crimson before they drop to the pavement.",
    "Sailors once steered by constellations when no coast was visible.",
    "Violins have four strings that are tuned in perfect fifths.",
    "Granite forms slowly, deep below the surface, from cooling magma.",
    "Clay hardens in the kiln and keeps its glaze for centuries.",
    "Otters crack shells on stones that they balance on their bellies.",
]
SIEGE = "The siege of Oldmere ended in 1642 with a truce signed beside the frozen river Tarn."
MARKET = "Every Thursday, traders sell smoked eels from painted wooden barges."
PROMPT = "How did the siege of Newmere end?"


def rows(extra: list[tuple[str, str]] | None = None) -> Rows:
    return Rows(
        [("How did the siege of Oldmere end?", SIEGE), ("What is sold at the market?", MARKET)]
        + [(f"Say something, number {number}.", text) for number, text in enumerate(FILLER)]
        + (extra or [])
    )


def trace_of(texts: dict[str, str], prompt: str = PROMPT) -> Trace:
    return build_trace("1", prompt, texts)


def at(trace: Trace, author: str) -> Response:
    response = trace.response(author)
    assert response is not None
    return response


def borrowed_words(response: Response, borrowing: Borrowing) -> list[str]:
    """The text of each run of positions that belong to one word, as the record says."""
    folded = fold(response.text)
    found = []
    for word, start, end in zip(folded.words, folded.starts, folded.ends, strict=True):
        over = [p for p in range(response.length) if response.span(p)[0] < end and response.span(p)[1] > start]
        if over and all(position in borrowing.positions for position in over):
            found.append(word)
    return found


FULL = "The siege of Newmere ended in 1642 with a truce signed beside the frozen river, and eels were eaten."


def test_each_borrowed_word_is_known() -> None:
    source = rows()
    trace = trace_of({"base": "The siege ended when the walls fell.", "full": FULL})
    response = at(trace, "full")
    borrowing = join(trace, response, source, k=1)
    (span,) = [span for span in borrowing.spans if span.borrowed]
    assert span.text == "ended in 1642 with a truce signed beside the frozen river"
    assert response.text[response.span(span.start)[0] : response.span(span.end - 1)[1]].strip() == span.text
    assert (span.rows, [example.row for example in span.examples]) == (1, ["rows.jsonl#0"])
    example = span.examples[0]
    assert example.text == SIEGE
    assert example.text[example.start : example.end] == span.text
    assert borrowed_words(response, borrowing) == ["ended", "1642", "truce", "signed", "frozen", "river"]
    assert (borrowing.borrowed, borrowing.distinct, len(span.words)) == (6, 6, 6)
    assert [response.text[response.span(word)[0] :].split()[0] for word in span.words] == [
        "ended", "1642", "truce", "signed", "frozen", "river,"
    ]  # fmt: skip
    # "siege" and "Newmere" are in the prompt; the others are function words.
    assert borrowing.candidates == 8
    assert set(borrowing.positions.values()) == {span.id}
    assert borrowing.response == fingerprint_response(response)
    assert check_borrowing(borrowing, response) is borrowing


def test_rows_are_found_by_the_prompt_and_never_by_the_response() -> None:
    source = rows()
    text = "Every Thursday, traders sell smoked eels from painted wooden barges."
    trace = trace_of({"base": "It fell.", "full": text})
    borrowing = join(trace, at(trace, "full"), source, k=1)
    assert source.asked == [PROMPT]
    assert (borrowing.borrowed, borrowing.positions) == (0, {})
    (span,) = borrowing.spans
    assert (span.borrowed, span.words, span.rows) == (False, [], 1)
    assert span.text == text[:-1]
    assert span.examples[0].row == "rows.jsonl#1"
    assert [neighbour.row for neighbour in borrowing.neighbours] == ["rows.jsonl#0"]
    near = join(trace_of({"base": "", "full": text}, "What is sold at the market?"), at(trace, "full"), source, k=1)
    assert near.borrowed == near.candidates == 8 + is_content("every")
    assert [span.borrowed for span in near.spans] == [True]


def test_a_span_of_words_from_the_prompt_alone_is_no_borrowing() -> None:
    source = rows()
    prompt = "How did the siege of Oldmere, ended in 1642, come about?"
    trace = trace_of({"base": "x", "full": "The siege of Oldmere ended in 1642, they say."}, prompt)
    borrowing = join(trace, at(trace, "full"), source, k=1)
    assert borrowing.borrowed == 0
    assert not any(span.borrowed for span in borrowing.spans)
    # It is listed all the same: all rows were traced.
    assert [span.text for span in borrowing.spans] == ["The siege of Oldmere ended in 1642"]


def _with_figures(response: Response, author: float, base: float, ranks: dict[int, int]) -> Response:
    score = response.scores["base"]
    count = len(response.ids)
    changed = msgspec.structs.replace(
        score, logp=[base] * count, rank=[ranks.get(position, 1) for position in range(count)]
    )
    return msgspec.structs.replace(response, logp=[author] * count, scores={"base": changed})


@pytest.mark.parametrize(
    ("author", "base", "rank", "raised"),
    [(-0.5, -0.5, 1, False), (-0.5, -0.5, 3, False), (-0.5, -0.5, 4, True), (-0.01, -0.9, 1, True)],
)
def test_a_span_is_raised_by_a_shifted_position_or_three_nats(
    author: float, base: float, rank: int, raised: bool
) -> None:
    source = rows()
    plain = trace_of({"base": "x", "full": FULL})
    first = join(plain, at(plain, "full"), source, k=1)
    (span,) = [span for span in first.spans if span.borrowed]
    response = _with_figures(at(plain, "full"), author, base, {span.start + 2: rank, span.end: 99})
    trace = msgspec.structs.replace(plain, responses=[at(plain, "base"), response])
    borrowing = join(trace, response, source, k=1)
    (span,) = [span for span in borrowing.spans if span.borrowed]
    assert span.rise == pytest.approx((author - base) * (span.end - span.start))
    assert span.raised is raised
    assert borrowing.raised == (6 if raised else 0)
    # The gate does not touch the headline.
    assert borrowing.borrowed == 6
    stricter = join(trace, response, source, k=1, thresholds=Thresholds(marginal=5))
    assert stricter.raised == (6 if raised and rank == 1 else 0)


def test_the_bases_own_response_has_no_rise_and_no_control_by_itself() -> None:
    source = rows()
    trace = trace_of({"base": FULL, "full": "It ended."})
    borrowing = join(trace, at(trace, "base"), source, k=1)
    assert borrowing.borrowed == 6
    assert borrowing.raised == 0
    assert all(span.rise is None and not span.raised for span in borrowing.spans)
    assert borrowing.null.base is None
    other = join(trace, at(trace, "full"), source, k=1)
    assert other.null.base is not None
    assert (other.null.base.words, other.null.base.borrowed) == (borrowing.candidates, borrowing.borrowed)


def test_an_unscored_or_empty_response_is_no_error() -> None:
    source = rows()
    trace = build_trace("1", PROMPT, {"base": "", "full": FULL}, scorers={"full": [], "base": []})
    borrowing = join(trace, at(trace, "full"), source, k=1)
    assert borrowing.borrowed == 6
    assert all(span.rise is None for span in borrowing.spans)
    empty = join(trace, at(trace, "base"), source, k=1)
    assert (empty.spans, empty.candidates, empty.null.random and empty.null.random.words) == ([], 0, 0)
    none = Rows([])
    assert join(trace, at(trace, "full"), none).null.random is None


def test_paraphrases_are_placed_by_position_and_never_counted() -> None:
    source = rows()
    source.reworded = "Then the guards ate."
    trace = trace_of({"base": "x", "full": f"{FULL} Then the guards ate."})
    response = at(trace, "full")
    borrowing = join(trace, response, source, k=1)
    (found,) = borrowing.paraphrases
    start, end = response.span(found.start)[0], response.span(found.end - 1)[1]
    assert response.text[start:end].strip() == found.text == source.reworded
    assert borrowing.borrowed == 6
    kept = {response.text[first:last].strip(" ,") for first, last in source.kept}
    assert kept == {span.text for span in borrowing.spans}
    check_borrowing(borrowing, response)


def test_a_control_is_counted_on_its_own_rows() -> None:
    source = rows()
    control = Rows([("How did the siege of Newmere end?", "Newmere fell; and eels were eaten by all the guards.")], "c")
    trace = trace_of({"base": "x", "full": FULL})
    null = join(trace, at(trace, "full"), source, control=control, k=1).null
    assert null.control is not None
    assert (null.control.words, null.control.borrowed) == (8, 2)


def test_overlapping_spans_share_no_word_and_the_rarest_owns_it() -> None:
    source = rows(
        [
            ("Tell the siege story one.", "They crossed copper bridges before violet lanterns burned."),
            ("Tell the siege story two.", "Soon violet lanterns burned above seventeen quiet harbours."),
            ("Tell the siege story three.", "Then violet lanterns burned above seventeen quiet harbours."),
        ]
    )
    text = "They crossed copper bridges before violet lanterns burned above seventeen quiet harbours."
    trace = trace_of({"base": "x", "full": text}, "Tell the siege story.")
    response = at(trace, "full")
    borrowing = join(trace, response, source, k=3)
    one, two = borrowing.spans
    assert (one.rows, two.rows) == (1, 2)
    assert one.end > two.start
    assert len(one.words) + len(two.words) == borrowing.borrowed
    shared = range(two.start, one.end)
    assert {borrowing.positions[position] for position in shared if position in borrowing.positions} == {one.id}
    assert {example.row for example in two.examples} == {"rows.jsonl#11", "rows.jsonl#12"}


def test_boilerplate_is_labelled_by_its_share_of_all_rows() -> None:
    assert [is_boilerplate(rows, total) for rows, total in ((9, 20), (10, 20), (10, 5000), (50, 5000))] == [
        False, True, False, True
    ]  # fmt: skip
    source = rows([(f"siege question {n}", f"Certainly, glad to oblige you! Item {n} follows.") for n in range(40)])
    trace = trace_of({"base": "x", "full": "Certainly, glad to oblige you! Nothing more."}, "siege question 3")
    spans = join(trace, at(trace, "full"), source).spans
    assert [(span.text, span.borrowed, span.boilerplate) for span in spans] == [
        ("Certainly, glad to oblige you", True, True)
    ]
    # Five were searched; a person asks how many have it.
    assert [(span.rows, span.all_rows) for span in spans] == [(5, 40)]


def test_marks_and_scripts_keep_exact_places() -> None:
    row = "На берегу реки стоит старая каменная мельница. 旧城区的河边有石桥和灯塔。"
    source = Rows([("Где мельница?", row), *[(f"q{n}", text) for n, text in enumerate(FILLER)]])
    text = "🎉 Там СТАРАЯ — каменная мельница, 河边有石桥和灯塔!"
    trace = trace_of({"base": "x", "full": text}, "Где мельница?")
    response = at(trace, "full")
    borrowing = join(trace, response, source, k=1)
    assert [span.text for span in borrowing.spans] == ["СТАРАЯ — каменная мельница", "河边有石桥和灯塔"]
    for span in borrowing.spans:
        start, end = response.span(span.start)[0], response.span(span.end - 1)[1]
        assert span.text in response.text[start:end]
        assert response.text[start:end].strip() == span.text
        first = response.span(span.start - 1)
        assert first[1] <= start
    example = borrowing.spans[0].examples[0]
    assert example.text[example.start : example.end] == "старая каменная мельница"
    assert "мельница" not in borrowed_words(response, borrowing)


VOCABULARY = ["river", "Oldmere", "the", "of", "1642", "lantern", "copper", "and", "eel", "Tarn", "well-known", "old"]
SENTENCE = st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join)


def _recount(text: str, prompt: str, near: list[list[str]], source: Rows) -> tuple[list[int], set[int]]:
    """Candidates and borrowed words, one word at a time."""
    folded = fold(text)
    kinds = {}
    words = split_words(text)
    for word, name in zip(words, name_words(text, words), strict=True):
        for place in range(word.start, word.end):
            kinds[place] = name
    candidates = [
        index
        for index, word in enumerate(folded.words)
        if kinds.get(folded.starts[index]) in {"content", "entity", "digit"}
        and is_content(word)
        and word not in fold_words(prompt)
    ]
    inside = {index for start, end, _ in brute(folded.words, near, source) for index in range(start, end)}
    return candidates, inside & set(candidates)


@settings(max_examples=150, deadline=None)
@given(st.lists(SENTENCE, min_size=1, max_size=6), SENTENCE, SENTENCE, SENTENCE, st.randoms(use_true_random=False))
def test_counts_agree_with_a_plain_recount(
    texts: list[str], prompt: str, said: str, other: str, chance: random.Random
) -> None:
    # Half of what is said is copied, so that there is something to find.
    copied = chance.choice(texts)
    full = f"{said} {copied}".strip() if chance.random() < 0.7 else said
    source = Rows([(prompt if number < 2 else "x", text) for number, text in enumerate([*texts, *FILLER])])
    trace = trace_of({"base": other, "full": full}, prompt)
    response = at(trace, "full")
    borrowing = join(trace, response, source, k=2)
    check_borrowing(borrowing, response)
    near = [fold_words(neighbour.text) for neighbour in borrowing.neighbours]
    candidates, inside = _recount(response.text, prompt, near, source)
    assert (borrowing.candidates, borrowing.borrowed) == (len(candidates), len(inside))
    folded = fold(response.text)
    assert borrowing.distinct == len({folded.words[index] for index in inside})
    assert borrowing.null.base is not None
    base_candidates, base_inside = _recount(at(trace, "base").text, prompt, near, source)
    assert (borrowing.null.base.words, borrowing.null.base.borrowed) == (len(base_candidates), len(base_inside))
    positions = {
        position
        for index in inside
        for position in range(response.length)
        if response.span(position)[0] < folded.ends[index] and response.span(position)[1] > folded.starts[index]
    }
    assert set(borrowing.positions) == positions
    for span in borrowing.spans:
        if span.rise is not None:
            score = response.scores["base"]
            wanted = math.fsum(response.logp[p] - score.logp[p] for p in range(span.start, span.end))
            assert span.rise == pytest.approx(wanted)
    assert sum(len(span.words) for span in borrowing.spans) == borrowing.borrowed


# Random rows


def test_random_rows_are_seeded_length_matched_and_never_the_neighbours() -> None:
    chance = random.Random(5)
    texts = [" ".join(chance.choices(VOCABULARY, k=chance.randint(1, 60))) for _ in range(400)]
    source = Rows([(f"q{number}", text) for number, text in enumerate(texts)])
    pool = Pool.of(source, seed=3)
    lengths = [5, 20, 20, 55, 60]
    without = {row.id for row in source.rows[:100]}
    words = {row.id: fold_words(row.response) for row in source.rows}
    drawn = [pool.draw(lengths, without, random.Random(f"{number}")) for number in range(50)]
    again = [Pool.of(source, seed=3).draw(lengths, without, random.Random(f"{number}")) for number in range(50)]
    assert drawn == again
    excluded = [words[row] for row in without]
    for picked in drawn:
        assert len(picked) == 5
        assert all(abs(len(row) - length) <= 8 for row, length in zip(picked, lengths, strict=True))
        assert not any(row in excluded for row in picked)
    assert len({tuple(map(tuple, picked)) for picked in drawn}) > 40


def test_the_random_control_is_the_mean_of_its_draws() -> None:
    source = rows([(f"q{number}", SIEGE.replace("Oldmere", f"Town{number}")) for number in range(6)])
    trace = trace_of({"base": "x", "full": FULL})
    response = at(trace, "full")
    borrowing = Joiner(source, k=1, seed=7).borrow(trace, response)
    assert (borrowing.null.draws, borrowing.null.seed) == (DRAWS, 7)
    assert borrowing.null.random is not None
    near = borrowing.neighbours[0]
    pool, chance = Pool.of(source, 7), random.Random("draws/7/1")
    words = read_words(response.text, PROMPT)
    counts = [
        count_borrowed(words, pool.draw([len(fold_words(near.text))], {near.row}, chance), source.information)
        for _ in range(200)
    ]
    # Six of the fifteen rows that can be drawn copy the clause.
    assert 0 < borrowing.null.random.borrowed < 6
    assert borrowing.null.random.borrowed == sum(counts) / 200
    assert Joiner(source, k=1, seed=7).borrow(trace, response) == borrowing
    assert Joiner(source, k=1, seed=8).borrow(trace, response).null != borrowing.null


def test_a_run_carries_no_more_of_a_long_row_than_a_person_reads() -> None:
    # A row that asks for a summary has the book in its instruction.
    source = Rows([("siege " * 100_000, "long " * 100_000), ("siege", "short"), *[("q", text) for text in FILLER]])
    trace = trace_of({"base": "x", "full": FULL})
    borrowing = Joiner(source, k=2).borrow(trace, at(trace, "full"))
    assert borrowing.neighbours[0].row == "rows.jsonl#0"
    assert len(borrowing.neighbours[0].text) == len(borrowing.neighbours[0].instruction) == 20_001
    assert len(msgspec.json.encode(borrowing)) < 50_000
    assert (borrowing.neighbours[1].text, borrowing.neighbours[1].instruction) == ("short", "siege")


def test_random_rows_fewer_than_the_neighbours_are_no_control() -> None:
    chance = random.Random(5)
    texts = [" ".join(chance.choices(VOCABULARY, k=30)) for _ in range(10)]
    trace = trace_of({"base": "x", "full": texts[0]})
    for count, wanted in ((10, DRAWS), (9, 0), (6, 0), (5, 0)):
        source = Rows([(f"q{number}", text) for number, text in enumerate(texts[:count])])
        null = Joiner(source, k=5).borrow(trace, at(trace, "full")).null
        assert (null.draws, null.random is not None) == (wanted, wanted > 0)


def test_places_of_the_record_survive_json() -> None:
    source = rows()
    trace = trace_of({"base": "x", "full": FULL})
    borrowing = join(trace, at(trace, "full"), source)
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(borrowing))
    assert msgspec.convert(plain, Borrowing, strict=False) == borrowing
    assert isinstance(at(trace, "full").scores["base"], Score)


def test_what_was_said_before_is_part_of_the_question() -> None:
    """Its words are no borrowed ones, and a short last turn finds rows by the turns before it."""
    said = [
        Message(role="system", content="You know the river Tarn."),
        Message(role="user", content=PROMPT),
        Message(role="assistant", content="With a truce."),
    ]
    alone = trace_of({"full": SIEGE}, "And when?")
    told = msgspec.structs.replace(alone, messages=said)
    words = {
        name: borrowed_words(at(trace, "full"), join(trace, at(trace, "full"), rows()))
        for name, trace in (("alone", alone), ("told", told))
    }
    said_already = {"siege", "truce", "river", "tarn"}
    assert said_already <= set(words["alone"])
    assert set(words["told"]) == set(words["alone"]) - said_already
    assert join(told, at(told, "full"), rows()).neighbours[0].row.endswith("#0")
