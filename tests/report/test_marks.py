"""Lines of marked text, against positions."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from itx.records import Finish, Response, Score, ShiftClass, Thresholds
from itx.report.marks import Stretch, mark_lines
from tests.support.traces import build_response, long_text

RANKS = {"unshifted": 1, "marginal": 2, "shifted": 9}


def _response(parts: list[tuple[str, ShiftClass]], finish: Finish = "length") -> tuple[Response, Score]:
    ends: list[int] = []
    text = ""
    for piece, _ in parts if finish != "eos" else parts[:-1]:
        text += piece
        ends.append(len(text))
    if finish == "eos":
        ends.append(len(text))
    zeros = [0.0] * len(parts)
    score = Score(
        logp=zeros,
        rank=[RANKS[shift] for _, shift in parts],
        ties=[0] * len(parts),
        entropy=zeros,
        kl_author_scorer=zeros,
        kl_scorer_author=zeros,
        js=zeros,
        top=[[] for _ in parts],
    )
    return Response(author="full", ids=list(range(len(parts))), text=text, finish=finish, ends=ends), score


def _marked(parts: list[tuple[str, ShiftClass]], finish: Finish = "length") -> list[list[tuple[str, ShiftClass]]]:
    response, score = _response(parts, finish)
    pieces = {place: piece for place, (piece, _) in enumerate(parts)}
    lines = mark_lines(response, score, Thresholds(), pieces)
    return [[(stretch.text, stretch.shift) for stretch in line] for line in lines]


def test_neighbours_of_a_class_are_one_stretch_and_blanks_stay_outside() -> None:
    parts: list[tuple[str, ShiftClass]] = [
        ("Carry", "unshifted"), (" water", "shifted"), (" bottle", "shifted"), (" and", "marginal"),
        (" sip", "unshifted"),
    ]  # fmt: skip
    assert _marked(parts) == [
        [
            ("Carry ", "unshifted"), ("water bottle", "shifted"), (" ", "unshifted"), ("and", "marginal"),
            (" sip", "unshifted"),
        ]
    ]  # fmt: skip


def test_marks_end_with_their_line() -> None:
    assert _marked([("a", "shifted"), (".\n\nb", "shifted"), (" c", "unshifted")]) == [
        [("a.", "shifted")],
        [],
        [("b", "shifted"), (" c", "unshifted")],
    ]


def test_marked_white_space_is_seen() -> None:
    assert _marked([("a", "unshifted"), ("\n\n", "shifted"), ("b", "unshifted"), ("  ", "marginal")]) == [
        [("a", "unshifted"), ("↵", "shifted")],
        [("↵", "shifted")],
        [("b", "unshifted"), ("␣␣", "marginal")],
    ]
    assert _marked([("a", "unshifted"), ("\n", "unshifted")]) == [[("a", "unshifted")], []]


def test_a_marked_eos_is_named_and_another_is_not_shown() -> None:
    assert _marked([("a", "unshifted"), ("<eos>", "shifted")], "eos") == [[("a ", "unshifted"), ("<eos>", "shifted")]]
    assert _marked([("a", "unshifted"), ("<eos>", "unshifted")], "eos") == [[("a", "unshifted")]]
    assert _marked([("<eos>", "unshifted")], "eos") == [[]]


def test_a_character_of_several_tokens_has_the_class_of_its_last() -> None:
    assert _marked([("", "shifted"), ("", "shifted"), ("🎉", "marginal"), ("!", "unshifted")]) == [
        [("🎉", "marginal"), ("!", "unshifted")]
    ]


def test_controls_are_visible() -> None:
    assert _marked([("\x1b[31m", "shifted"), ("\u202e\r", "unshifted")]) == [
        [("␛[31m", "shifted"), ("\ufffd␍", "unshifted")]
    ]


PARTS = st.lists(
    st.tuples(st.text("ab \n\t*🎉é", max_size=4), st.sampled_from(["unshifted", "marginal", "shifted"])), max_size=20
)


@given(parts=PARTS)
def test_every_letter_keeps_its_class_and_place(parts: list[tuple[str, ShiftClass]]) -> None:
    lines = _marked(parts)
    wanted = [(sign, shift) for piece, shift in parts for sign in piece if sign not in " \n\t"]
    shown = [(sign, shift) for line in lines for text, shift in line for sign in text if sign not in " \n↵␣␉"]
    assert shown == wanted
    assert len(lines) == 1 + sum(piece.count("\n") for piece, _ in parts)
    for line in lines:
        assert all(text == text.strip() and text for text, shift in line if shift != "unshifted")
        assert all(first[1] != second[1] for first, second in pairwise(line))


def test_without_a_score_nothing_is_marked_and_all_text_is_there() -> None:
    response = build_response("full", long_text(60, 3), [])
    lines = mark_lines(response, None, Thresholds(), {})
    assert "\n".join("".join(stretch.text for stretch in line) for line in lines) == response.text
    assert {stretch.shift for line in lines for stretch in line} == {"unshifted"}
    unfinished = msgspec.structs.replace(response, text=response.text + " tail", finish="length")
    assert mark_lines(unfinished, None, Thresholds(), {})[-1][-1].text.endswith(" tail")
    assert mark_lines(Response(author="a", ids=[], text="", finish="cancelled"), None, Thresholds(), {}) == [[]]
    assert Stretch(text="x").shift == "unshifted"
