from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.data.row import Row, Turn
from itx.data.store import PLACES, ROWS, RowStore, RowWriter, split_id
from tests.data.sets import build_rows

# Everything that a reader may hand on: lone surrogates, NUL and escapes among it.
TEXTS = st.text(st.characters(codec=None), max_size=40)
TURNS = st.builds(
    lambda role, text, trained: Turn(role=role, text=text, trained=trained),
    st.sampled_from(["system", "instruction", "response", "rejected", "tool"]),
    TEXTS,
    st.booleans(),
)


def write(rows: list[Row], folder: Path) -> RowStore:
    folder.mkdir(exist_ok=True)
    writer = RowWriter(folder)
    for row in rows:
        writer.append(row)
    writer.close()
    return RowStore(folder)


@given(st.lists(st.lists(TURNS, max_size=4), max_size=8), st.data())
def test_rows_come_back_as_they_were_in_any_order(tmp_path_factory, contents: list[list[Turn]], data) -> None:
    rows = [Row(id=f"a file#{3 * number}", turns=turns) for number, turns in enumerate(contents)]
    store = write(rows, tmp_path_factory.mktemp("store"))
    assert list(store) == rows
    assert len(store) == len(rows)
    assert store[1:3] == rows[1:3]
    for number in data.draw(st.permutations(range(len(rows)))):
        assert store[number] == rows[number]
        assert store[number - len(rows)] == rows[number]
        assert store.id(number) == rows[number].id
        assert store.number(rows[number].id) == number


def test_an_id_is_found_among_several_files_with_gaps(tmp_path: Path) -> None:
    ids = ["a#b.json#0", "a#b.json#2", "a#b.json#9", "c.json#0", "c.json#5", "a#b.json#4"]
    store = write([Row(id=each, turns=[]) for each in ids], tmp_path)
    assert [store.number(each) for each in ids] == [0, 1, 2, 3, 4, 5]
    for missing in ("a#b.json#1", "a#b.json#10", "b.json#0", "c.json", "c.json#", "c.json#x", "c.json#-1", "c.json#²"):
        with pytest.raises(KeyError):
            store.number(missing)


def test_there_is_no_row_before_the_first_or_behind_the_last(tmp_path: Path) -> None:
    store = write(build_rows(), tmp_path)
    for number in (len(store), -len(store) - 1):
        with pytest.raises(IndexError):
            store[number]
    with pytest.raises(IndexError):
        store.id(len(store))


@pytest.mark.parametrize("name", [ROWS, PLACES])
def test_a_store_that_was_cut_short_is_none(tmp_path: Path, name: str) -> None:
    write(build_rows(), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises((ValueError, OSError)):
        RowStore(tmp_path)


def test_an_id_ends_with_the_number() -> None:
    assert split_id("data/a#1.json#20") == ("data/a#1.json", 20)
    with pytest.raises(ValueError):
        split_id("data/a.json")
