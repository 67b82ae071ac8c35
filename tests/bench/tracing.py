"""Finding the words of a response in all rows: the verbatim index, and beside it a plain dictionary of n-grams."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from tests.bench.arms import Measurement
from tests.bench.memory import read_peak, reset_peak

WORDS = 300
"""Words of a traced response: more than 300 tokens hold."""
_RESPONSES = 20
_VOCABULARY = 120_000
_PASSAGES = 4000
_GRAM = 3


def write_rows(rows: int, seed: int = 0) -> Iterator[str]:
    """Yield made-up responses of 640 bytes or so: words by Zipf's law, and passages many rows share."""
    draw = np.random.default_rng(seed)
    words = _write_words()
    passages = [
        " ".join(words[_draw_words(np.random.default_rng(number), 4 + number % 14)]) for number in range(_PASSAGES)
    ]
    for start in range(0, rows, 1000):
        count = min(1000, rows - start)
        lengths = np.clip(draw.gamma(2.0, 48.0, count).astype(int), 1, 1500)
        codes = _draw_words(draw, int(lengths.sum()))
        ends = np.cumsum(lengths)
        for end, length in zip(ends, lengths, strict=True):
            parts = list(words[codes[end - length : end]])
            for place in draw.integers(0, length, 3):
                # Few passages are in thousands of rows, most in some.
                parts[place] = f"{passages[int(_PASSAGES * draw.random() ** 3)].capitalize()}, {parts[place]}."
            yield " ".join(parts)


def _write_words() -> np.ndarray:
    draw = np.random.default_rng(7)
    signs = np.array(list("eeeeetttaaaooiinnsshhrrdlcumwfgypbvk"))
    made = {
        "".join(draw.choice(signs, 2 + min(place // 400 + 2, int(draw.gamma(4, 1.4))))) for place in range(_VOCABULARY)
    }
    return np.array(sorted(made, key=lambda word: (len(word) > 4, _hash(word), word)), dtype=object)


def _hash(word: str) -> int:
    """Return a number that is the same in every process."""
    return int.from_bytes(word.encode(), "big") * 2654435761 % (1 << 32)


def _draw_words(draw: np.random.Generator, count: int) -> np.ndarray:
    """Return ``count`` ranks of words, by Zipf's law with exponent 1."""
    return (60_000 ** draw.random(count)).astype(np.int64) - 1


def write_responses(rows: list[str], seed: int = 1) -> list[list[str]]:
    """Return folded responses: new words by the same law, and passages copied from ``rows``."""
    from itx.data.folding import fold_words

    draw = np.random.default_rng(seed)
    fresh = fold_words(" ".join(write_rows(40 * _RESPONSES, seed + 100)))
    made = []
    for _ in range(_RESPONSES):
        words: list[str] = []
        while len(words) < WORDS:
            start = int(draw.integers(len(fresh) - WORDS))
            words += fresh[start : start + int(draw.integers(40))]
            row = fold_words(rows[int(draw.integers(len(rows)))])
            start = int(draw.integers(len(row)))
            words += row[start : start + int(draw.integers(4, 20))]
        made.append(words[:WORDS])
    return made


def build(rows: int, folder: Path) -> None:
    """Build the index of so many rows in this process and print rows, seconds and the peak in MiB."""
    from itx.data.verbatim import VerbatimIndex

    reset_peak()
    spent = 0.0

    def timed() -> Iterator[str]:
        nonlocal spent
        source = write_rows(rows)
        while True:
            start = time.perf_counter()
            part = list(islice(source, 1000))
            spent += time.perf_counter() - start
            if not part:
                return
            yield from part

    start = time.perf_counter()
    VerbatimIndex.build(timed(), folder)
    sys.stdout.write(f"{time.perf_counter() - start - spent:.2f} {read_peak():.0f}\n")


def _build_apart(rows: int, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.bench.tracing", str(rows), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak = done.stdout.split()[-2:]
    return float(seconds), float(peak)


def _time_traces(folder: Path, responses: list[list[str]], repeats: int) -> tuple[list[float], float, int]:
    """Return the median milliseconds of a trace for each repeat, those of opening, and the spans of all responses."""
    from itx.data.verbatim import VerbatimIndex

    start = time.perf_counter()
    index = VerbatimIndex.open(folder)
    opened = (time.perf_counter() - start) * 1000
    spans = sum(len(index.trace(words)) for words in responses)
    medians = []
    for _ in range(repeats):
        costs = []
        for words in responses:
            start = time.perf_counter()
            index.trace(words)
            costs.append((time.perf_counter() - start) * 1000)
        medians.append(statistics.median(costs))
    return medians, opened, spans


def measure(repeats: int, sizes: tuple[int, ...], beside: bool = False) -> Measurement:
    """Return milliseconds of tracing one response at the last of ``sizes``; what all sizes cost is in the notes.

    With ``beside`` a plain dictionary is asked for the same.
    """
    notes = [f"{WORDS} words a response, the median of {_RESPONSES} responses a repeat, files in the system's cache"]
    medians: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        for rows in sizes:
            folder = Path(name) / str(rows)
            folder.mkdir()
            seconds, peak = _build_apart(rows, folder)
            responses = write_responses(list(write_rows(min(rows, 2000))))
            medians, opened, spans = _time_traces(folder, responses, repeats)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            text = sum(path.stat().st_size for path in folder.glob("*.text")) / 1e6
            notes.append(
                f"{rows:,} rows, {text:,.0f} MB folded: built in {seconds:.1f} s with a peak of {peak:,.0f} MiB, "
                f"{size:,.0f} MB of files, opened in {opened:.1f} ms; a trace {statistics.median(medians):.2f} ms, "
                f"{spans / _RESPONSES:.1f} spans"
            )
            if beside and rows == sizes[-1]:
                notes += _compare_grams(folder, list(write_rows(rows)), responses, repeats)
            for path in folder.iterdir():
                path.unlink()
    return Measurement(ours=medians, floor=[], notes=notes)


class GramDictionary:
    """What one would write first: a dictionary from every three words to their places, and passages grown from them."""

    def __init__(self, rows: list[list[str]]) -> None:
        self.rows = rows
        places: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for number, row in enumerate(rows):
            for place, gram in enumerate(zip(*(row[shift:] for shift in range(_GRAM)), strict=False)):
                places[gram].append((number, place))
        self.places = dict(places)

    def trace(self, words: list[str]) -> list[tuple[int, int, int]]:
        """Return the maximal runs of at least three words, each with the number of its rows."""
        found = []
        end = 0
        for start in range(len(words) - _GRAM + 1):
            longest, have = 0, set()
            for number, place in self.places.get(tuple(words[start : start + _GRAM]), ()):
                row, length = self.rows[number], _GRAM
                while words[start + length : start + length + 1] == row[place + length : place + length + 1] != []:
                    length += 1
                if length > longest:
                    longest, have = length, set()
                if length == longest:
                    have.add(number)
            if start + longest > max(end, start):
                end = start + longest
                found.append((start, end, len(have)))
        return found


def _compare_grams(folder: Path, texts: list[str], responses: list[list[str]], repeats: int) -> list[str]:
    """Say what the dictionary costs on the rows that ``folder`` indexes, and check that it finds the same."""
    from itx.data.folding import fold_words
    from itx.data.verbatim import VerbatimIndex

    index = VerbatimIndex.open(folder)
    reset_peak()
    before = read_peak()
    start = time.perf_counter()
    grams = GramDictionary([fold_words(text) for text in texts])
    taken = time.perf_counter() - start
    memory = read_peak() - before
    for words in responses:
        listed = set(grams.trace(words))
        kept = [(each.start, each.end, each.rows) for each in index.trace(words) if each.end - each.start >= _GRAM]
        if not listed.issuperset(kept):
            raise RuntimeError("the dictionary finds other runs than the index")
    arms: tuple[list[float], list[float]] = ([], [])
    for words in responses * repeats:
        for costs, traced in zip(arms, (index, grams), strict=True):
            start = time.perf_counter()
            traced.trace(words)
            costs.append((time.perf_counter() - start) * 1000)
    return [
        f"beside it, a plain dictionary of every {_GRAM} words of the {len(texts):,} rows: built in {taken:.1f} s, "
        f"{memory:,.0f} MiB more in memory, nothing kept on disk; a trace {statistics.median(arms[1]):.2f} ms, "
        f"{statistics.median(arms[0]):.2f} ms by the index, the same runs and counts"
    ]


if __name__ == "__main__":
    build(int(sys.argv[1]), Path(sys.argv[2]))
