"""The tiny engine keeps the contract that other tests rely on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.errors import MemoryExhaustedError, UsageError
from itx.models.reference import Reference
from itx.models.tiny import BOS, EOS, TinyEngine, load_tiny


def make(place: str) -> TinyEngine:
    return load_tiny(Reference("base", f"tiny:{place}", "tiny", place))


@given(ids=st.lists(st.integers(0, 257), min_size=1, max_size=30), data=st.data())
def test_logits_depend_on_the_ids_alone_however_they_are_cut(ids: list[int], data: st.DataObject) -> None:
    engine = make("3")
    whole = np.asarray(engine.stream().extend(ids, keep=len(ids)))
    stream, start, parts = engine.stream(), 0, []
    while start < len(ids):
        size = data.draw(st.integers(1, len(ids) - start))
        parts.append(np.asarray(stream.extend(ids[start : start + size], keep=size)))
        start += size
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (len(ids), engine.vocab_size)


def test_seeds_and_tuning_change_the_logits_and_the_fingerprint() -> None:
    engines = [make(place) for place in ("1", "2", "1?tuned=0.5", "1?tuned=1")]
    assert len({engine.fingerprint for engine in engines}) == 4
    assert make("1").fingerprint == engines[0].fingerprint == make("1?tuned=0").fingerprint


def test_it_fails_where_it_is_told_to() -> None:
    stream = make("1?fail=4").stream()
    stream.extend([1, 2, 3])
    with pytest.raises(MemoryExhaustedError):
        stream.extend([4])


def test_settings_are_read() -> None:
    engine = make("1?window=64&chunk=3")
    assert (engine.window, engine.chunk) == (64, 3)
    assert make("1").window is None


@pytest.mark.parametrize("place", ["", "x", "1?tuned", "1?tuned=much"])
def test_what_is_no_tiny_engine_is_refused(place: str) -> None:
    with pytest.raises(UsageError):
        make(place)


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20))
def test_text_is_bytes(text: str) -> None:
    vocabulary = make("1").vocabulary
    ids = vocabulary.encode(text)
    decoder = vocabulary.decoder()
    assert "".join(decoder.feed(token) for token in ids) + decoder.flush() == text
    assert (vocabulary.piece(BOS), vocabulary.piece(EOS), vocabulary.piece(270)) == ("<bos>", "<eos>", "<270>")
