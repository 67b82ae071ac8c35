"""Nothing a stranger wrote reaches a terminal as a control."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from itx.text import escape_json, sanitise


@given(st.text())
def test_length_is_kept_and_no_control_survives(text: str) -> None:
    safe = sanitise(text)
    assert len(safe) == len(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cs"} or char == "\n" for char in safe)
    assert "\n" not in sanitise(text, keep_newlines=False)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])))
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert sanitise(text) == text


def test_every_way_to_start_an_escape_sequence_is_shown() -> None:
    hostile = "\x1b[2J\x9b31m\x07\x00\r\x08\x7f\u202e\u2066\u200b\ud800"
    safe = sanitise(hostile)
    assert safe == "␛[2J\ufffd31m␇␀␍␈␡\ufffd\ufffd\ufffd\ufffd"
    assert safe.isprintable()


def test_joined_emoji_stay_whole() -> None:
    family = "👩\u200d👩\u200d👧"
    assert sanitise(family) == family


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaped_json_means_the_same_and_prints_harmlessly(text: str) -> None:
    escaped = escape_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(escaped) == text
    assert sanitise(escaped) == escaped
