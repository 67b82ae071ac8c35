"""The indexes of one set of tuning data, opened together: rows, verbatim, lexical and semantic.

An index is kept in the cache folder under a hash of the data's contents and of everything else that went into it, and
built again only when one of these changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from itx.config import cache_folder
from itx.data.cache import NOTICE, Cache, Tell, be_silent, read_description
from itx.data.contents import hash_files, stamp_files
from itx.data.embedder import Embedder, identify, load_embedder
from itx.data.folding import fold_words
from itx.data.lexical import FIELDS, Field, LexicalIndex
from itx.data.nearness import find_nearest, interleave
from itx.data.paraphrase import find_bound, find_paraphrases
from itx.data.reading import Broken, data_files, read_rows
from itx.data.row import Row
from itx.data.semantic import By, SemanticIndex
from itx.data.store import RowStore
from itx.data.verbatim import VerbatimIndex
from itx.errors import InputError, ItxError, UsageError
from itx.records import Neighbour, Paraphrase
from itx.version import VERSION

if TYPE_CHECKING:
    from itx.data.cutting import Cutter
    from itx.data.information import Information

FORMAT = 1
SHOWN_BROKEN = 20
Kind = Literal["prompt", "response", "span", "words"]
How = Literal["near", "words", "meaning", "verbatim"]
_ATTEMPTS = 3


class Index:
    """The tuning data, to be asked where words come from. Everything is memory-mapped; embedders load when asked.

    ``fingerprint`` is the ``sha256:…`` of the data's contents, ``broken`` counts the rows that were skipped and
    ``broken_rows`` says which the first of them were. ``verbatim`` searches the responses, ``asked`` the instructions
    with system messages. Raises OSError or ValueError where ``folder`` holds no whole index.
    """

    def __init__(self, folder: Path, reference: str, embedder: str | None) -> None:
        description = read_description(folder)
        if description is None:
            raise ValueError(f"{folder} holds no whole index")
        self.folder = folder
        self.reference = reference
        self.fingerprint: str = description["fingerprint"]
        self.broken: int = description["broken"]
        self.broken_rows = msgspec.convert(description["broken_rows"], list[Broken])
        self.rows = RowStore(folder / "rows")
        self.verbatim = VerbatimIndex.open(folder / "response")
        self.asked = VerbatimIndex.open(folder / "instruction")
        self._lexical = LexicalIndex(folder / "lexical")
        self._semantic = SemanticIndex(folder / "semantic")
        self._embedder_reference = embedder
        self.temporary: tempfile.TemporaryDirectory[str] | None = None
        """Where the index stands when the cache cannot be written; removed with this object."""

    @property
    def information(self) -> Information:
        """What each word tells, from its frequency over all responses."""
        return self.verbatim.information

    @cached_property
    def embedder(self) -> Embedder:
        """What the semantic index was made with; loaded when first asked."""
        return load_embedder(self._embedder_reference)

    def nearest(self, prompt: str, k: int = 5) -> list[Neighbour]:
        """Return the ``k`` rows nearest to a prompt, best first: those that the join searches; see ``nearness``."""
        words, vector = fold_words(prompt), self.embedder.embed([prompt])[0]
        hits = find_nearest(words, vector, self._lexical, self._semantic, k)
        lexical = self._lexical.score(words, [hit.number for hit in hits])
        return [
            replace(self._show(hit.number, "prompt", lexical[hit.number], hit.semantic), score=hit.score)
            for hit in hits
        ]

    def neighbours(self, query: str, kind: Kind, limit: int = 10) -> list[Neighbour]:
        """Return rows near a text, in meaning and by words in turn, each once and with both scores.

        The order is that of the two lists interleaved. A prompt and a person's words are looked for in all that rows
        have, meaning first (for a prompt, the nearest rows, as the join has them); a response or a span in what they
        answer, words first: half of a row's response found the row first by words in 81 to 98 %, by meaning in 64 to
        99 % of cases (five data sets).
        """
        words = fold_words(query)
        vector = self.embedder.embed([query])[0]
        answered = kind in ("response", "span")
        by: By = "whole" if answered else "both"
        fields: tuple[Field, ...] = ("response",) if answered else FIELDS
        if kind == "prompt":
            hits = find_nearest(words, vector, self._lexical, self._semantic, limit)
            semantic = {hit.number: hit.semantic for hit in hits}
        else:
            semantic = dict(self._semantic.find(vector, limit, by))
        lexical = dict(self._lexical.find(words, limit, fields))
        ranked = (list(lexical), list(semantic)) if answered else (list(semantic), list(lexical))
        chosen = interleave(*ranked)[:limit]
        lexical |= self._lexical.score(words, [number for number in chosen if number not in lexical], fields)
        others = [number for number in chosen if number not in semantic] if vector.any() else []
        semantic |= dict(zip(others, self._semantic.score(vector, others, by), strict=True))
        return [self._show(number, kind, lexical.get(number), semantic.get(number)) for number in chosen]

    def paraphrases(
        self, text: str, kept: Sequence[tuple[int, int]], neighbours: Sequence[Neighbour]
    ) -> list[Paraphrase]:
        """Return the sentences of a text outside its spans ``kept`` (characters) that say what a neighbour says."""
        return find_paraphrases(text, kept, neighbours, self.embedder, self._nearness)

    @cached_property
    def _nearness(self) -> float:
        return find_bound(self.rows, self.embedder)

    def search(self, text: str, how: How, limit: int = 50) -> list[Neighbour]:
        """Return rows near a text, rows with its words, rows near it in meaning, or those that have it as it stands.

        Best first; near is by words and meaning in turn; verbatim, in the order of the rows, found in instructions
        and system messages as well, and without a score.
        """
        if how == "near":
            return self.neighbours(text, "words", limit)
        if how == "meaning":
            hits = self._semantic.find(self.embedder.embed([text])[0], limit)
            return [self._show(number, "words", None, score) for number, score in hits]
        words = fold_words(text)
        if how == "words":
            return [self._show(number, "words", score, None) for number, score in self._lexical.find(words, limit)]
        found = sorted({*self.verbatim.find(words, limit), *self.asked.find(words, limit)})[:limit]
        return [self._show(number, "words", None, None) for number in found]

    def _show(
        self,
        number: int,
        query: Kind,
        lexical: float | None,
        semantic: float | None,
    ) -> Neighbour:
        row = self.rows[number]
        return Neighbour(
            row=row.id,
            score=semantic if semantic is not None else lexical or 0.0,
            text=row.response,
            instruction=row.instruction,
            lexical=lexical,
            semantic=semantic,
            query=query,
        )


class _Subject(NamedTuple):
    """What an index is of, the contents aside."""

    reference: str
    columns: Mapping[str, str] | None
    embedder: str | None
    cutter: Cutter | None
    limit: int | None

    def options(self) -> dict[str, Any]:
        """Return what, besides the data, decides what an index holds."""
        return {
            "columns": dict(sorted((self.columns or {}).items())),
            "embedder": identify(self.embedder),
            "train_max_tokens": self.limit,
            "tokenizer": self.cutter.fingerprint if self.cutter else None,
        }

    def rows(self, broken: list[Broken]) -> Iterator[Row]:
        """Yield the rows as they were tuned on; what is skipped is added to ``broken``."""
        for row in read_rows(self.reference, self.columns, broken.append):
            yield self.cutter.cut(row) if self.cutter else row


def open_index(
    reference: str,
    *,
    columns: Mapping[str, str] | None = None,
    embedder: str | None = None,
    folder: Path | None = None,
    train_max_tokens: int | None = None,
    tokenizer: Path | None = None,
    tell: Tell = be_silent,
) -> Index:
    """Return the indexes of tuning data, built first where they are not in the cache or the data changed.

    ``folder`` is used in place of the cache folder. ``train_max_tokens`` needs the ``tokenizer`` that the tuning used,
    a folder with ``tokenizer.json``. Where the cache cannot be written, the index is built in a temporary folder that
    is removed with it, and ``tell`` hears of it. Raises UsageError, InputError and MissingExtraError as the readers do,
    InputError for data that changes all the while, ItxError for a full disk.
    """
    subject = _Subject(reference, columns, embedder, _make_cutter(train_max_tokens, tokenizer), train_max_tokens)
    root = (folder or cache_folder() / "index").expanduser()
    paths = data_files(reference)
    for _ in range(_ATTEMPTS):
        before = stamp_files(paths)
        fingerprint = hash_files(paths, root, tell) if paths else _hash_rows(subject, tell)
        index = _open_or_build(subject, paths, root, fingerprint, tell)
        if stamp_files(paths) == before:
            if len(paths) == 1:
                # It may have been built of a copy in another place.
                shown = str(paths[0]).encode("utf-8", "replace").decode()
                index.broken_rows = [msgspec.structs.replace(each, file=shown) for each in index.broken_rows]
            return index
        # Built of other contents than its name says.
        with contextlib.suppress(OSError):
            Cache(index.folder.parent).discard(index.folder.name)
        tell("the data changed while it was read: reading it again", NOTICE)
        paths = data_files(reference)
    raise InputError(f"{reference} keeps changing while it is read.", "Wait until it is written, and try again.")


def _make_cutter(limit: int | None, tokenizer: Path | None) -> Cutter | None:
    if limit is None:
        return None
    if tokenizer is None:
        raise UsageError(
            "--train-max-tokens needs the tokenizer of the tuning: without it nobody knows where a row was cut.",
            "--tokenizer FOLDER, a folder with tokenizer.json",
        )
    from itx.data.cutting import Cutter

    return Cutter(tokenizer, limit)


def _open_or_build(subject: _Subject, paths: Sequence[Path], root: Path, fingerprint: str, tell: Tell) -> Index:
    options = subject.options()
    key = _name(options, paths, subject.reference, fingerprint)
    cache = Cache(root)
    found = cache.find(key)
    if found is not None:
        try:
            return Index(found, subject.reference, subject.embedder)
        except (OSError, ValueError, KeyError):
            tell("the index in the cache is damaged: building it again", NOTICE)
            with contextlib.suppress(OSError):
                cache.discard(key)

    def write(place: Path) -> dict[str, Any]:
        about = {"data": [str(path.resolve()) for path in paths] or subject.reference, "options": options}
        subject_hash = hashlib.sha256(json.dumps(about).encode("ascii")).hexdigest()
        return {"subject": subject_hash, "fingerprint": fingerprint} | _write_indexes(subject, paths, place, tell)

    temporary: tempfile.TemporaryDirectory[str] | None = None
    try:
        built = cache.build(key, write, tell)
    except OSError as error:
        tell(f"{root} cannot be written ({error.strerror}): the index is kept in a temporary folder", NOTICE)
        try:
            temporary = tempfile.TemporaryDirectory(prefix="itx-index-")
            cache = Cache(Path(temporary.name))
            built = cache.build(key, write, tell)
        except OSError as again:
            raise ItxError(
                f"The index can be written neither to {root} nor to a temporary folder: {again.strerror}.",
                "Name a folder with --out.",
            ) from again
    with contextlib.suppress(OSError):
        cache.forget_others(key)
    try:
        index = Index(built, subject.reference, subject.embedder)
    except (OSError, ValueError, KeyError) as error:
        raise ItxError(
            f"The index that was just built in {built} cannot be read: {error}", "Name another folder with --out."
        ) from error
    index.temporary = temporary
    return index


def _name(options: Mapping[str, Any], paths: Sequence[Path], reference: str, fingerprint: str) -> str:
    """Return the name of the index of these contents. Files' names are in rows' ids, and so in the index."""
    facts = {
        "format": [FORMAT, VERSION, unicodedata.unidata_version],
        "files": [str(path.resolve()) for path in paths] if len(paths) > 1 else [path.name for path in paths],
        "reference": None if paths else reference,
        "fingerprint": fingerprint,
        **options,
    }
    return hashlib.sha256(json.dumps(facts).encode("ascii")).hexdigest()[:32]


def _hash_rows(subject: _Subject, tell: Tell) -> str:
    """Return the hash of a data set that has no files of its own, by its rows as the readers see them."""
    tell("reading the data's contents", 0.0)
    digest = hashlib.sha256()
    for row in read_rows(subject.reference, subject.columns):
        digest.update(json.dumps(msgspec.to_builtins(row)).encode("ascii"))
    return f"sha256:{digest.hexdigest()}"


def _write_indexes(subject: _Subject, paths: Sequence[Path], place: Path, tell: Tell) -> dict[str, Any]:
    """Fill ``place`` and return what is to be known of it: one pass over the data, and one for each suffix array."""
    from itx.data.building import write_indexes

    broken: list[Broken] = []
    size = sum(path.stat().st_size for path in paths)
    rows = write_indexes(subject.rows(broken), place, load_embedder(subject.embedder), size, tell)
    return {
        "reference": subject.reference,
        "rows": rows,
        "broken": len(broken),
        "broken_rows": msgspec.to_builtins(broken[:SHOWN_BROKEN]),
    }
