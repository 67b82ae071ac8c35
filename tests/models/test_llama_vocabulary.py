"""Ids and text of GGUF files, against SentencePiece's merging done here by hand and what the file itself says."""

from __future__ import annotations

import hashlib
import re
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader, TokenType
from hypothesis import example, given
from hypothesis import strategies as st

from itx.errors import WeightsError
from itx.models.llama.engine import LlamaEngine
from itx.models.llama.load import LlamaLoader
from itx.models.llama.vocabulary import GgufVocabulary
from itx.models.options import Options
from itx.models.reference import parse_reference
from tests.support import ggufs

library: Any = pytest.importorskip("llama_cpp")

SHAPE = ggufs.Shape(hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32)
TENSORS = ggufs.draw_tensors(SHAPE)
IDS = ggufs.IDS


def load(path: Path) -> LlamaEngine:
    return LlamaLoader(Options(threads=1), lambda *told: None).load(parse_reference(str(path), "base", {}))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ggufs.write_model(tmp_path_factory.mktemp("vocabulary") / "m.gguf", TENSORS, SHAPE)


@pytest.fixture(scope="module")
def engine(path: Path) -> LlamaEngine:
    return load(path)


@pytest.fixture(scope="module")
def vocabulary(engine: LlamaEngine) -> GgufVocabulary:
    return engine.vocabulary


def tokenize(text: str) -> list[int]:
    """Cut out the markers, put a space before what begins a text or follows a marker, merge the best pairs."""
    own = [token.text for token in ggufs.VOCABULARY if token.kind in _CUT]
    ids: list[int] = []
    after_marker = True
    for part in re.split("(" + "|".join(map(re.escape, sorted(own, key=len, reverse=True))) + ")", text):
        if part in own:
            ids.append(IDS[part])
            after_marker = True
        elif part:
            ids += merge((" " if after_marker else "") + part)
            after_marker = False
    return ids


_CUT = {TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED}


def merge(text: str) -> list[int]:
    pieces = list(text.replace(" ", "▁"))
    while True:
        pairs = [
            (-ggufs.VOCABULARY[IDS[left + right]].score, place)
            for place, (left, right) in enumerate(pairwise(pieces))
            if left + right in IDS and ggufs.VOCABULARY[IDS[left + right]].kind is TokenType.NORMAL
        ]
        if not pairs:
            break
        place = min(pairs)[1]
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return [
        token
        for piece in pieces
        for token in ([IDS[piece]] if piece in IDS else [IDS[f"<0x{byte:02X}>"] for byte in piece.encode()])
    ]


_TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from([" the", "bread", "Tell me", "東", "é", "  ", "🌸", "\n", "ing", "of", "\0", "a\0b"]),
        st.sampled_from(["<s>", "</s>", "<|user|>", "<|im_end|>", "<unk>", "[own words]", "<0xE2>", "<unused0>"]),
    ),
    max_size=8,
).map("".join)


@given(text=_TEXTS)
@example("")
@example("Tell me of the bread and the rain")
def test_text_has_the_ids_of_sentencepiece(vocabulary: GgufVocabulary, text: str) -> None:
    assert vocabulary.encode(text) == tokenize(text)


def test_known_texts_have_known_ids(vocabulary: GgufVocabulary) -> None:
    """The oracle's own oracle: words that are tokens are found whole, and nothing is added."""
    assert vocabulary.encode("the bread") == [IDS["▁the"], IDS["▁bread"]]
    assert vocabulary.encode("x<|user|>y") == [IDS["▁"], IDS["x"], IDS["<|user|>"], IDS["▁"], IDS["y"]]
    assert vocabulary.encode("東🌸")[1:] == [IDS["東"], *(IDS[f"<0x{byte:02X}>"] for byte in "🌸".encode())]
    assert vocabulary.encode("") == []
    assert vocabulary.encode("z" * 5000) == [IDS["▁"], *[IDS["z"]] * 5000]


@given(text=_TEXTS)
def test_pieces_and_the_decoder_give_the_text_back(vocabulary: GgufVocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    spelt = b"".join(vocabulary.spell(token) for token in ids)
    if not any(marker in text for marker in ("<", "[")):
        assert spelt == (b" " if text else b"") + text.encode()
    decoder = vocabulary.decoder()
    parts = [decoder.feed(token) for token in ids]
    assert "".join(parts) + decoder.flush() == spelt.decode("utf-8", "replace")


def test_a_character_comes_out_with_its_last_byte(vocabulary: GgufVocabulary) -> None:
    ids = [IDS[f"<0x{byte:02X}>"] for byte in "é🌸".encode()]
    decoder = vocabulary.decoder()
    assert [decoder.feed(token) for token in ids] == ["", "é", "", "", "", "🌸"]
    assert decoder.flush() == ""
    decoder = vocabulary.decoder()
    assert [decoder.feed(token) for token in ids[2:4]] == ["", ""]
    assert decoder.flush() == "�"
    assert vocabulary.piece(ids[0]) == "<0xC3>"


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83c\udf38", "the \udc80 bread"])
def test_lone_surrogates_are_replaced(vocabulary: GgufVocabulary, text: str) -> None:
    clean = re.sub("[\ud800-\udfff]", "\ufffd\ufffd\ufffd", text)
    assert vocabulary.encode(text) == tokenize(clean)


def test_every_id_is_spelt_as_the_file_has_it(vocabulary: GgufVocabulary, path: Path) -> None:
    written = GGUFReader(path).fields["tokenizer.ggml.tokens"].contents()
    assert vocabulary.symbols == dict(enumerate(written))
    assert vocabulary.size == len(written)
    for number, token in enumerate(ggufs.VOCABULARY):
        if token.kind is TokenType.BYTE:
            byte = int(token.text[3:5], 16)
            assert vocabulary.spell(number) == bytes([byte])
            assert vocabulary.piece(number) == (chr(byte) if byte < 128 else token.text)
        elif token.kind is not TokenType.UNUSED:
            assert vocabulary.spell(number) == token.text.replace("▁", " ").encode()
    for wrong in (-1, vocabulary.size, 1 << 31):
        assert vocabulary.spell(wrong) == b""
        assert vocabulary.piece(wrong) == f"<{wrong}>"


def test_kinds_are_those_of_the_file(vocabulary: GgufVocabulary, engine: LlamaEngine) -> None:
    def find(*kinds: TokenType) -> set[int]:
        return {number for number, token in enumerate(ggufs.VOCABULARY) if token.kind in kinds}

    assert vocabulary.special == find(TokenType.CONTROL, TokenType.UNKNOWN)
    assert vocabulary.added - vocabulary.special == find(TokenType.USER_DEFINED, TokenType.UNUSED)
    assert (vocabulary.bos, vocabulary.adds_bos) == (ggufs.BOS, True)
    assert vocabulary.variables == {"bos_token": "<s>", "eos_token": "</s>"}
    # <|im_end|> ends a turn, as llama.cpp knows it.
    assert engine.eos == vocabulary.eos == {ggufs.EOS, IDS["<|im_end|>"]}
    own = {token for token in range(vocabulary.size) if library.llama_vocab_is_eog(engine.weights.vocabulary, token)}
    assert vocabulary.eos == own


def test_the_fingerprint_is_of_the_vocabulary_alone(path: Path, vocabulary: GgufVocabulary, tmp_path: Path) -> None:
    digest = hashlib.sha256()
    for token in ggufs.VOCABULARY:
        digest.update(struct.pack("<Q", len(token.text.encode())) + token.text.encode())
    digest.update(b"".join(struct.pack("<f", token.score) for token in ggufs.VOCABULARY))
    digest.update(b"".join(struct.pack("<i", token.kind) for token in ggufs.VOCABULARY))
    assert vocabulary.fingerprint == f"sha256:{digest.hexdigest()}"
    other = ggufs.write_model(tmp_path / "o.gguf", ggufs.draw_tensors(SHAPE, 3), SHAPE, template=None)
    assert load(other).vocabulary.fingerprint == vocabulary.fingerprint
    tokens = [*ggufs.VOCABULARY[:-1], ggufs.Token("<unused1>", 0.0, TokenType.UNUSED)]
    third = ggufs.write_model(tmp_path / "t.gguf", TENSORS, SHAPE, vocabulary=tokens)
    assert load(third).vocabulary.fingerprint != vocabulary.fingerprint


@pytest.mark.parametrize("named", [1 << 20, (1 << 32) - 1])
def test_ids_of_markers_that_are_no_ids_count_as_none(tmp_path: Path, named: int) -> None:
    extra = {f"tokenizer.ggml.{name}_token_id": named for name in ("bos", "eos", "padding")}
    found = load(ggufs.write_model(tmp_path / "m.gguf", TENSORS, SHAPE, extra=extra)).vocabulary
    assert all(0 <= token < found.size for token in found.eos)
    assert found.bos is None or 0 <= found.bos < found.size
    assert "pad_token" not in found.variables


def test_markers_that_the_file_says_not_to_add(tmp_path: Path) -> None:
    extra = {"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_space_prefix": False}
    found = load(ggufs.write_model(tmp_path / "m.gguf", TENSORS, SHAPE, extra=extra)).vocabulary
    assert not found.adds_bos
    assert found.encode("x") == [IDS["x"]]


def test_a_file_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    size = len(ggufs.VOCABULARY)
    extra = {"tokenizer.ggml.model": "no_vocab", "llama.vocab_size": size}
    with pytest.raises(WeightsError, match="has no vocabulary"):
        load(ggufs.write_model(tmp_path / "m.gguf", TENSORS, SHAPE, vocabulary=[], extra=extra))
