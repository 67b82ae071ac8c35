from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from itx.data import building, contents, index
from itx.data.cache import DESCRIPTION, NOTICE
from itx.data.folding import fold_words
from itx.data.index import Index, open_index
from itx.data.nearness import interleave
from itx.errors import InputError, ItxError, UsageError
from tests.data.sets import PAIRS, draw_pairs, write_pairs

TOKENIZER = Path(index.__file__).parents[1] / "demo" / "weights" / "base"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "rows.jsonl")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "itx" / "index"


@pytest.fixture
def built(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every folder that an index was written into."""
    places: list[Path] = []
    write = building.write_indexes

    def count(rows, place, *words):
        places.append(place)
        return write(rows, place, *words)

    monkeypatch.setattr(building, "write_indexes", count)
    return places


def finished(cache: Path) -> list[Path]:
    return sorted(path.parent for path in cache.glob(f"*/{DESCRIPTION}"))


def trace(found: Index, text: str) -> list[str]:
    words = fold_words(text)
    return [" ".join(words[span.start : span.end]) for span in found.verbatim.trace(words)]


def test_an_index_answers_what_was_put_in(data: Path, cache: Path) -> None:
    found = open_index(str(data))
    pairs = [pair for pair in PAIRS if pair[1]]
    assert [(row.instruction, row.response) for row in found.rows] == pairs
    assert [found.rows.number(f"rows.jsonl#{number}") for number in range(len(pairs))] == list(range(len(pairs)))
    assert found.broken == 0
    assert found.fingerprint.startswith("sha256:")
    assert found.information.total == sum(len(fold_words(answer)) for _, answer in pairs)
    for number, (asked, answer) in enumerate(pairs):
        if asked:
            nearest = found.nearest(asked, 3)
            assert nearest[0].row == f"rows.jsonl#{number}"
            assert (nearest[0].instruction, nearest[0].text) == (asked, answer)
            assert [each.score for each in nearest] == sorted((each.score for each in nearest), reverse=True)
            again = found.neighbours(asked, "prompt")[0]
            assert again.row == nearest[0].row
            assert (again.lexical, again.semantic) == pytest.approx((nearest[0].lexical, nearest[0].semantic), rel=1e-5)
        first = found.neighbours(answer, "response", 4)
        assert first[0].row == f"rows.jsonl#{number}"
        assert len({each.row for each in first}) == len(first) <= 4
        for each in first:
            assert each.lexical is not None
            assert each.semantic is not None
            assert each.query == "response"


def test_both_scores_are_the_same_from_whichever_list_a_row_comes(data: Path, cache: Path) -> None:
    found = open_index(str(data))
    text = PAIRS[0][1]
    all_of_them = {each.row: each for each in found.neighbours(text, "span", 50)}
    for limit in (1, 2, 3):
        for each in found.neighbours(text, "span", limit):
            assert each.lexical == pytest.approx(all_of_them[each.row].lexical, rel=1e-5)
            assert each.semantic == pytest.approx(all_of_them[each.row].semantic, rel=1e-5)


def test_rows_are_searched_by_words_meaning_and_as_they_stand(data: Path, cache: Path) -> None:
    found = open_index(str(data))
    assert found.search("Star Wars: A New Hope", "words")[0].row == "rows.jsonl#2"
    near = found.search("sleeping well", "near", 3)
    assert near[0].row == "rows.jsonl#3" and near[0].lexical is not None and near[0].semantic is not None
    assert found.search("sleeping well", "meaning", 1)[0].row == "rows.jsonl#3"
    assert [each.row for each in found.search("in the dark of the HIVE", "verbatim")] == ["rows.jsonl#4"]
    # Instructions are searched as well; words have to be whole and in their order.
    assert [each.row for each in found.search("tip for hydration", "verbatim")] == ["rows.jsonl#1"]
    assert found.search("hydration for tip", "verbatim") == []
    assert [each.row for each in found.search("亚麻布", "words", 1)] == ["rows.jsonl#5"]
    assert [each.row for each in found.search("放在阴凉干燥的木盒中", "verbatim")] == ["rows.jsonl#5"]
    assert len(found.search("the", "verbatim", 2)) == 2
    for how in ("near", "words", "meaning", "verbatim"):
        assert found.search(" \ud800", how) == []


def test_a_cached_index_is_opened_and_not_built(data: Path, cache: Path, built: list[Path], monkeypatch) -> None:
    first = open_index(str(data))
    assert len(built) == 1
    again = open_index(str(data))
    os.utime(data, ns=(1, 1))
    touched = open_index(str(data))
    assert len(built) == 1
    assert first.folder == again.folder == touched.folder == finished(cache)[0]


def test_contents_are_not_read_again_once_the_file_has_settled(data: Path, cache: Path, monkeypatch) -> None:
    read: list[Path] = []
    hash_one = contents._hash
    monkeypatch.setattr(contents, "_hash", lambda path, *words: (read.append(path), hash_one(path, *words))[1])
    before = open_index(str(data)).fingerprint
    assert open_index(str(data)).fingerprint == before
    # Touched a moment ago, it may change again without its time changing.
    assert len(read) == 2
    monkeypatch.setattr(contents, "_SETTLED_NS", -1)
    for _ in range(3):
        assert open_index(str(data)).fingerprint == before
    assert len(read) == 3
    with data.open("a") as file:
        file.write("\n")
    assert open_index(str(data)).fingerprint != before
    for note in (cache / "known").iterdir():
        note.write_text("garbage")
    assert open_index(str(data)).fingerprint != before
    assert len(read) == 5


def test_an_index_is_built_again_when_the_data_changes_and_the_old_one_goes(
    data: Path, cache: Path, built: list[Path]
) -> None:
    old = open_index(str(data))
    stamp = data.stat()
    size = data.stat().st_size
    data.write_text(data.read_text().replace("linen", "woven"))
    os.utime(data, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert data.stat().st_size == size
    new = open_index(str(data))
    assert len(built) == 2
    assert new.fingerprint != old.fingerprint
    assert new.search("woven cloth", "verbatim")
    assert finished(cache) == [new.folder]
    # Who has the old one open keeps it.
    assert old.search("linen cloth", "verbatim")


def test_an_index_of_other_options_or_another_version_is_another(data: Path, cache: Path, built, monkeypatch) -> None:
    open_index(str(data))
    other = open_index(str(data), columns={"instruction": "output", "response": "instruction"})
    assert other.rows[0].response == PAIRS[0][0]
    assert len(finished(cache)) == 2
    monkeypatch.setattr(index, "FORMAT", 2)
    open_index(str(data))
    assert len(built) == 3


@pytest.mark.parametrize("broken", ["cut", "missing", "description", "garbage"])
def test_a_cache_that_is_not_whole_is_built_again(data: Path, cache: Path, built: list[Path], broken: str) -> None:
    folder = open_index(str(data)).folder
    path = folder / "response" / "0.text"
    if broken == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif broken == "missing":
        path.unlink()
    elif broken == "description":
        (folder / DESCRIPTION).write_text("{")
    else:
        # The size is right and the contents are not.
        meta = folder / "lexical" / "meta.json"
        meta.write_bytes(b"\0" * meta.stat().st_size)
    found = open_index(str(data))
    assert len(built) == 2
    assert trace(found, PAIRS[0][1]) == [" ".join(fold_words(PAIRS[0][1]))]
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []


def build_slowly(data: Path, started) -> None:
    write = building.write_indexes

    def stop(rows, place, *words):
        write(rows, place, *words)
        started.set()
        # To be killed in: the files are there, and nothing says yet that they are whole.
        time.sleep(60)

    building.write_indexes = stop
    open_index(str(data))


def test_what_a_killed_builder_left_is_no_index_and_is_removed(data: Path, cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started = context.Event()
    process = context.Process(target=build_slowly, args=(data, started))
    process.start()
    assert started.wait(60)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    left = [path for path in cache.iterdir() if path.name.endswith(".building")]
    assert len(left) == 1
    assert finished(cache) == []
    found = open_index(str(data))
    assert len(found.rows) == len([pair for pair in PAIRS if pair[1]])
    assert [path for path in cache.iterdir() if path.name.startswith(".")] == []


def test_of_two_builders_one_builds_and_the_other_waits(
    data: Path, cache: Path, built: list[Path], monkeypatch
) -> None:
    write = building.write_indexes
    # Slow enough for the other one to come while it builds.
    monkeypatch.setattr(building, "write_indexes", lambda *words: (time.sleep(0.5), write(*words))[1])
    notices: list[str] = []
    found: list[Index] = []

    def build() -> None:
        found.append(open_index(str(data), tell=lambda step, done: notices.append(step) if done == NOTICE else None))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len(found) == 2
    assert any("another process" in notice for notice in notices)


def test_where_the_cache_cannot_be_written_a_temporary_folder_serves(data: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    notices: list[str] = []
    found = open_index(str(data), tell=lambda step, done: notices.append(step) if done == NOTICE else None)
    assert found.search("linen cloth", "verbatim")
    assert len(notices) == 1
    assert "cannot be written" in notices[0]
    folder = found.folder
    assert folder.exists()
    del found
    assert not folder.exists()


def test_a_cache_folder_without_permission_is_read_and_not_written(data: Path, cache: Path, built: list[Path]) -> None:
    open_index(str(data))
    cache.chmod(0o555)
    try:
        if os.access(cache, os.W_OK):
            pytest.skip("this user may write anywhere")
        assert open_index(str(data)).folder.parent == cache
        assert len(built) == 1
        write_pairs(data, PAIRS[:3])
        found = open_index(str(data))
        assert found.folder.parent != cache
        assert len(found.rows) == 3
    finally:
        cache.chmod(0o755)


def test_a_full_disk_is_named(data: Path, cache: Path, monkeypatch) -> None:
    def fill(*words):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building, "write_indexes", fill)
    with pytest.raises(ItxError, match="full"):
        open_index(str(data))
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_data_that_grows_once_is_read_again_and_whole(data: Path, cache: Path, monkeypatch) -> None:
    write = building.write_indexes
    grown: list[bool] = []

    def grow(rows, place, *words):
        done = write(rows, place, *words)
        if not grown:
            grown.append(True)
            with data.open("a") as file:
                file.write(json.dumps({"instruction": "New?", "output": "A late row about copper kettles."}) + "\n")
        return done

    monkeypatch.setattr(building, "write_indexes", grow)
    found = open_index(str(data))
    assert found.search("copper kettles", "verbatim")
    assert finished(cache) == [found.folder]


def test_data_that_never_stops_growing_is_refused(data: Path, cache: Path, monkeypatch) -> None:
    write = building.write_indexes

    def grow(rows, place, *words):
        done = write(rows, place, *words)
        with data.open("a") as file:
            file.write(json.dumps({"instruction": "New?", "output": "More."}) + "\n")
        return done

    monkeypatch.setattr(building, "write_indexes", grow)
    with pytest.raises(InputError, match="keeps changing"):
        open_index(str(data))
    assert finished(cache) == []


def test_broken_rows_are_counted_and_the_first_are_named_also_from_the_cache(data: Path, cache: Path) -> None:
    lines = data.read_text().splitlines()
    data.write_text("\n".join([lines[0], *["{broken"] * 30, *lines[1:]]) + "\n")
    for _ in range(2):
        found = open_index(str(data))
        assert found.broken == 30
        assert [broken.line for broken in found.broken_rows] == list(range(2, 22))
        assert found.rows[1].id == "rows.jsonl#31"
        assert found.search("water bottle", "verbatim")[0].row == "rows.jsonl#31"


def test_a_copy_of_the_data_shares_the_index_and_names_its_own_file(data: Path, cache: Path, built, tmp_path) -> None:
    data.write_text(data.read_text() + "{broken\n")
    open_index(str(data))
    copy = tmp_path / "copy" / data.name
    copy.parent.mkdir()
    copy.write_bytes(data.read_bytes())
    assert open_index(str(copy)).broken_rows[0].file == str(copy)
    # Another name stands in the rows' ids.
    other = copy.rename(copy.with_name("other.jsonl"))
    assert open_index(str(other)).rows[0].id == "other.jsonl#0"
    assert len(built) == 2


def test_a_data_set_without_files_is_known_by_its_rows(data: Path, cache: Path, built, monkeypatch) -> None:
    read = index.read_rows
    monkeypatch.setattr(index, "data_files", lambda reference: [])
    monkeypatch.setattr(index, "read_rows", lambda reference, *words: read(str(data), *words))
    first = open_index("owner/name")
    assert open_index("owner/name").fingerprint == first.fingerprint
    assert len(built) == 1
    write_pairs(data, PAIRS[:3])
    assert len(open_index("owner/name").rows) == 3
    assert finished(cache) != [first.folder]


def test_hard_rows_are_indexed(tmp_path: Path, cache: Path) -> None:
    pairs = [
        ("null \0 byte", "a \0 null byte in the harbour wall"),
        ("\ud800 lone", "a lone \udfff surrogate under the old bridge"),
        ("\x1b[31m", "an escape \x1b[2J sequence clears the green slate"),
        ("long", "granite " * 130_000),
        ("twice", "the very same words about the quiet miller"),
        ("twice", "the very same words about the quiet miller"),
        ("?", "one" * 400_000),
    ]
    found = open_index(str(write_pairs(tmp_path / "hard.jsonl", pairs)))
    shown = [
        tuple(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in pair) for pair in pairs
    ]
    assert [(row.instruction, row.response) for row in found.rows] == shown
    for number, text in ((0, "null byte in the harbour wall"), (1, "surrogate under the old bridge")):
        assert [each.row for each in found.search(text, "verbatim")] == [f"hard.jsonl#{number}"]
    assert len(found.search("about the quiet miller", "verbatim")) == 2
    assert {each.row for each in found.search("quiet miller", "words", 2)} == {"hard.jsonl#4", "hard.jsonl#5"}
    assert found.neighbours(pairs[1][1], "response")[0].row == "hard.jsonl#1"
    assert found.neighbours("granite " * 10_000, "response", 1)[0].row == "hard.jsonl#3"


def test_text_that_was_cut_off_in_tuning_is_no_source(tmp_path: Path, cache: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER / "tokenizer.json"))
    asked, answer = "Describe the copper mill.", "Sailors find the copper mill by the bell. Nobody knows who built it."
    data = write_pairs(tmp_path / "one.jsonl", [(asked, answer)])
    count = len(tokenizer.encode(asked, add_special_tokens=False).ids)
    ids = tokenizer.encode(answer, add_special_tokens=False).ids
    for kept in (len(ids), len(ids) - 1, 5, 0):
        found = open_index(str(data), train_max_tokens=count + kept or 1, tokenizer=TOKENIZER)
        response = found.rows[0].response
        assert found.rows[0].instruction == asked
        assert answer.startswith(response)
        assert tokenizer.encode(response, add_special_tokens=False).ids == ids[:kept]
        assert bool(found.search("Nobody knows who built", "verbatim")) == (kept >= len(ids) - 1)
    shorter = open_index(str(data), train_max_tokens=2, tokenizer=TOKENIZER)
    assert shorter.rows[0].response == ""
    assert asked.startswith(shorter.rows[0].instruction) and shorter.rows[0].instruction != asked


def test_a_limit_without_its_tokenizer_is_refused(data: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tokenizer"):
        open_index(str(data), train_max_tokens=100)
    with pytest.raises(UsageError, match=r"tokenizer\.json"):
        open_index(str(data), train_max_tokens=100, tokenizer=tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="no tokenizer"):
        open_index(str(data), train_max_tokens=100, tokenizer=tmp_path)


def test_progress_goes_from_nothing_to_all_in_each_step(tmp_path: Path, cache: Path) -> None:
    told: dict[str, list[float]] = {}
    path = write_pairs(tmp_path / "many.jsonl", draw_pairs(1200))
    open_index(str(path), tell=lambda step, done: told.setdefault(step, []).append(done))
    assert len(told) == 6
    for done in told.values():
        assert done == sorted(done)
        assert 0 <= done[0] <= done[-1] == 1


def test_what_is_not_there_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_index(str(tmp_path / "nothing.jsonl"))
    assert not cache.exists()


def test_rankings_are_taken_in_turn() -> None:
    assert interleave([1, 2, 3], [3, 4]) == [1, 3, 2, 4]
    assert interleave([], [5, 6]) == [5, 6]
    assert interleave(["a"], []) == ["a"]
