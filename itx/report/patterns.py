"""Pattern copying: how long responses are, how they begin, end and are laid out, beside the tuning data's.

Words are what blanks part, in lower case. A list is two lines or more that begin with a bullet or a number; Markdown
is emphasis, a heading, a fence of code, a link or a table's line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from itx.report.gathering import AuthorColumns, Floats, Gathered, Integers
from itx.report.resampling import Ratios, draw, estimate
from itx.report.study import AuthorPatterns, DataPatterns, Estimate, Lengths, Patterns, Phrase
from itx.report.tables import sum_responses

Rows = Iterable[str]
"""The responses of the tuning data's rows."""

EDGE = 3
"""Words of an opening or a closing."""
REPEATED = 5
"""Words that a repeated run has at least."""
LISTED = 10
_LEAST = 2
"""Responses that must share a phrase."""
_LIST_LINE = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_MARKDOWN = re.compile(r"\*\*\S|^#{1,6} |^```|\[[^\]\n]+\]\([^)\n]+\)|^\|.*\|[ \t]*$", re.MULTILINE)


@dataclass
class _Texts:
    """Counts over texts, of one author or of the data."""

    words: list[int] = field(default_factory=list)
    lists: list[bool] = field(default_factory=list)
    markdown: list[bool] = field(default_factory=list)
    openings: Counter[str] = field(default_factory=Counter)
    closings: Counter[str] = field(default_factory=Counter)

    def add(self, text: str) -> list[str]:
        """Count a text; return its words."""
        words = text.lower().split()
        self.words.append(len(words))
        self.lists.append(len(_LIST_LINE.findall(text)) > 1)
        self.markdown.append(_MARKDOWN.search(text) is not None)
        if words:
            self.openings[" ".join(words[:EDGE])] += 1
            self.closings[" ".join(words[-EDGE:])] += 1
        return words


def find_patterns(gathered: Gathered, rows: Rows | str) -> Patterns:
    """Return the patterns of every model that answered; ``rows``: the data's responses, or why they were not read."""
    found: dict[str, tuple[AuthorColumns, _Texts, list[list[str]]]] = {}
    for model in [*gathered.run.tuned, gathered.run.base]:
        author = gathered.authors[model.name]
        if len(author.prompt):
            texts = _Texts()
            found[model.name] = (author, texts, [texts.add(text) for text in author.text])
    repeated = {name: find_repeated(words) for name, (_, _, words) in found.items()}
    data = None if isinstance(rows, str) else _Texts()
    held: Counter[str] = Counter()
    if data is not None and not isinstance(rows, str):
        wanted = {phrase for phrases in repeated.values() for phrase, _ in phrases}
        for row in rows:
            words = data.add(row)
            line = f" {' '.join(words)} "
            held.update(phrase for phrase in wanted if f" {phrase} " in line)
    return Patterns(
        models={
            name: _close(gathered, author, texts, _list_repeated(repeated[name], held, data), data)
            for name, (author, texts, _) in found.items()
        },
        data=None if data is None else _close_data(data),
        missing=rows if isinstance(rows, str) else None,
    )


def _close(
    gathered: Gathered, author: AuthorColumns, texts: _Texts, repeated: list[Phrase], data: _Texts | None
) -> AuthorPatterns:
    ended = np.array([finish == "eos" for finish in author.finish], dtype=np.bool_)
    shares: list[Sequence[bool]] = [[not each for each in ended.tolist()], texts.lists, texts.markdown]
    if data is not None:
        edges = [text.lower().split() for text in author.text]
        shares.append([" ".join(words[:EDGE]) in data.openings for words in edges])
        shares.append([" ".join(words[-EDGE:]) in data.closings for words in edges])
    censored, lists, markdown, *copied = _estimate_shares(gathered, author, shares)
    return AuthorPatterns(
        name=next(name for name, each in gathered.authors.items() if each is author),
        responses=len(author.prompt),
        words=measure_lengths(np.array(texts.words)[ended]),
        tokens=measure_lengths(author.length[ended]),
        censored=censored,
        lists=lists,
        markdown=markdown,
        openings=_list_common(texts.openings, None if data is None else data.openings),
        closings=_list_common(texts.closings, None if data is None else data.closings),
        boilerplate=repeated,
        opening_copied=copied[0] if copied else None,
        closing_copied=copied[1] if copied else None,
    )


def _estimate_shares(gathered: Gathered, author: AuthorColumns, shares: Sequence[Sequence[bool]]) -> list[Estimate]:
    """Return the share of responses of which each is true."""
    number = sum_responses(gathered, author, np.ones(len(author.prompt)))
    columns = [sum_responses(gathered, author, np.array(share, dtype=np.float64)) for share in shares]
    ratios = Ratios(np.hstack(columns), np.hstack([number] * len(columns)))
    return estimate(draw(ratios), [True] * len(columns))


def _close_data(data: _Texts) -> DataPatterns:
    rows = len(data.words)
    return DataPatterns(
        rows=rows,
        words=measure_lengths(np.array(data.words)),
        lists=sum(data.lists) / rows if rows else None,
        markdown=sum(data.markdown) / rows if rows else None,
        openings=_list_common(data.openings, data.openings),
        closings=_list_common(data.closings, data.closings),
    )


def measure_lengths(lengths: Integers | Floats) -> Lengths:
    """Return mean and percentiles."""
    if not len(lengths):
        return Lengths(count=0, mean=None, low=None, median=None, high=None)
    low, median, high = (float(value) for value in np.percentile(lengths, [10, 50, 90]))
    return Lengths(count=len(lengths), mean=float(np.mean(lengths)), low=low, median=median, high=high)


def _list_common(counts: Counter[str], rows: Counter[str] | None) -> list[Phrase]:
    common = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:LISTED]
    return [
        Phrase(text=text, responses=count, rows=None if rows is None else rows[text])
        for text, count in common
        if count >= _LEAST
    ]


def _list_repeated(repeated: list[tuple[str, int]], held: Counter[str], data: _Texts | None) -> list[Phrase]:
    return [Phrase(text=text, responses=count, rows=None if data is None else held[text]) for text, count in repeated]


def find_repeated(texts: Sequence[Sequence[str]]) -> list[tuple[str, int]]:
    """Return runs of five words and more that several texts share, with how many do; those in most texts first.

    A run is grown for as long as all its texts go on alike, and is listed once.
    """
    words = list(dict.fromkeys(chain.from_iterable(texts)))
    numbers = {word: number for number, word in enumerate(words)}
    # A mark of its own ends each text, so that no run goes over an end.
    flat = np.array(
        [
            *chain.from_iterable(
                chain(map(numbers.__getitem__, text), (-1 - place,)) for place, text in enumerate(texts)
            )
        ],
        dtype=np.int64,
    )
    if len(flat) <= REPEATED:
        return []
    owners = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])
    grams = _name_runs(flat, REPEATED)
    # Once a text.
    once = np.unique(grams * len(texts) + owners[: len(grams)]) // len(texts)
    named, counts = np.unique(once, return_counts=True)
    order = np.lexsort((named, -counts))
    found: list[tuple[str, int]] = []
    for place in order[: 20 * LISTED].tolist():
        if counts[place] < _LEAST or len(found) == LISTED:
            break
        starts = np.flatnonzero(grams == named[place])
        first, last = _grow(flat, starts)
        if flat[first : last + 1].min() < 0:
            continue
        text = " ".join(words[number] for number in flat[first : last + 1])
        if not any(f" {text} " in f" {other} " for other, _ in found):
            found.append((text, int(counts[place])))
    return found


def _name_runs(flat: Integers, length: int) -> Integers:
    """Return a number for the run of ``length`` entries that begins at each place: equal ones for equal runs."""
    names = flat - flat.min()
    span, widest = int(names.max()) + 1, 2**62
    grams, known, done = names, span, 1
    while done < length:
        # As many words as fit a number are joined before the runs are numbered anew.
        while done < length and known <= widest // span:
            grams = grams[: len(flat) - done] * span + names[done:]
            known, done = known * span, done + 1
        _, grams = np.unique(grams, return_inverse=True)
        known = int(grams.max()) + 1
    return np.asarray(grams, dtype=np.int64)


def _grow(flat: Integers, starts: Integers) -> tuple[int, int]:
    """Return the first and the last entry, at the first start, of the longest run that all starts share."""
    before, after = 0, REPEATED - 1
    while (starts - before > 0).all() and len(set(flat[starts - before - 1].tolist())) == 1:
        before += 1
    while (starts + after + 1 < len(flat)).all() and len(set(flat[starts + after + 1].tolist())) == 1:
        after += 1
    return int(starts[0]) - before, int(starts[0]) + after
