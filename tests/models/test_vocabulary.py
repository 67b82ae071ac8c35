"""Ids and text: byte-level and SentencePiece-like tokenizers, characters split over tokens, markers."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from itx.errors import WeightsError
from itx.models.spelling import byte_alphabet, name_bytes, spell_bytes
from itx.models.torch.vocabulary import HuggingFaceVocabulary, load_vocabulary, read_template
from tests.support.llamas import BOS, EOS, TEMPLATE, build_tokenizer


def build_sentencepiece(*, strip: bool) -> PreTrainedTokenizerFast:
    """A BPE with ▁ for blanks and byte fallback, as Llama 2 (``strip``) and Gemma have it."""
    words = ["<pad>", "<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", *"abcdefghijklmnopqrstuvwxyz", "é", "th", "▁th", "▁the", "in", "▁i", "▁in"]
    vocabulary = {word: index for index, word in enumerate(words)}
    merges = [("t", "h"), ("▁", "th"), ("▁th", "e"), ("i", "n"), ("▁", "i"), ("▁i", "n")]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strip else steps)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


VOCABULARIES = {
    "byte-level": HuggingFaceVocabulary(build_tokenizer(), "sha256:0"),
    "gemma-like": HuggingFaceVocabulary(build_sentencepiece(strip=False), "sha256:1"),
    "llama-2-like": HuggingFaceVocabulary(build_sentencepiece(strip=True), "sha256:2"),
}
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.fixture(params=VOCABULARIES)
def vocabulary(request: pytest.FixtureRequest) -> HuggingFaceVocabulary:
    return VOCABULARIES[request.param]


def feed(vocabulary: HuggingFaceVocabulary, ids: list[int]) -> tuple[list[str], str]:
    decoder = vocabulary.decoder()
    parts = [decoder.feed(token) for token in ids]
    return parts, decoder.flush()


@pytest.mark.parametrize("name", VOCABULARIES)
@settings(max_examples=80, deadline=None)
@given(text=TEXT)
def test_text_comes_back_whole_and_only_in_whole_characters(name: str, text: str) -> None:
    vocabulary = VOCABULARIES[name]
    ids = vocabulary.encode(text)
    parts, rest = feed(vocabulary, ids)
    # The SentencePiece-like vocabularies spell a real ▁ as a blank: that is theirs, not ours.
    expected = text if name == "byte-level" else text.replace("▁", " ")
    assert "".join(parts) == expected
    assert rest == ""


@pytest.mark.parametrize("name", VOCABULARIES)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_ids_at_all_decode_as_their_bytes(name: str, data: st.DataObject) -> None:
    """Models emit broken UTF-8: the text is that of all bytes together, with U+FFFD for what is none."""
    vocabulary = VOCABULARIES[name]
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1), max_size=30))
    parts, rest = feed(vocabulary, ids)
    spelled = b"".join(vocabulary.token_bytes(token) or b"" for token in ids)
    assert "".join(parts) + rest == spelled.decode("utf-8", "replace")


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_byte_level_text_is_what_the_tokenizer_decodes(data: st.DataObject) -> None:
    vocabulary = VOCABULARIES["byte-level"]
    ids = data.draw(st.lists(st.integers(6, vocabulary.size - 1), max_size=30))
    parts, rest = feed(vocabulary, ids)
    assert "".join(parts) + rest == build_tokenizer().decode(ids)


def test_a_character_over_several_tokens_belongs_to_the_last(vocabulary: HuggingFaceVocabulary) -> None:
    ids = vocabulary.encode("🌸")
    assert len(ids) > 1
    parts, rest = feed(vocabulary, ids)
    assert parts == [""] * (len(ids) - 1) + ["🌸"]
    assert rest == ""


def test_an_unfinished_character_is_flushed_as_replacement(vocabulary: HuggingFaceVocabulary) -> None:
    parts, rest = feed(vocabulary, vocabulary.encode("a🌸")[:-1])
    assert "".join(parts) == "a"
    assert rest == "�"


def test_a_leading_blank_of_a_response_is_kept() -> None:
    vocabulary = VOCABULARIES["llama-2-like"]
    assert "".join(feed(vocabulary, vocabulary.encode(" the"))[0]) == " the"


def test_pieces_name_bytes_that_are_no_character(vocabulary: HuggingFaceVocabulary) -> None:
    pieces = [vocabulary.piece(token) for token in vocabulary.encode("🌸")]
    assert "".join(pieces) == "<0xF0><0x9F><0x8C><0xB8>"
    assert vocabulary.piece(BOS) == "<s>"
    assert vocabulary.piece(vocabulary.size + 5) == f"<{vocabulary.size + 5}>"


def test_nothing_is_added_and_markers_are_ids(vocabulary: HuggingFaceVocabulary) -> None:
    assert vocabulary.encode("") == []
    assert vocabulary.encode("the")[0] != BOS
    assert vocabulary.encode("<s>")[0] == BOS
    assert {BOS, EOS} <= vocabulary.special
    assert (vocabulary.bos, vocabulary.tokenizer_eos) == (BOS, EOS)
    assert vocabulary.variables["bos_token"] == "<s>"


def test_lone_surrogates_do_not_raise(vocabulary: HuggingFaceVocabulary) -> None:
    assert "".join(feed(vocabulary, vocabulary.encode("a\ud800b"))[0]).startswith("a")


def test_a_decoder_without_bytes_grows_the_text() -> None:
    """WordPiece joins words with blanks: text is what decoding more ids adds."""
    words = {"[UNK]": 0, "wa": 1, "##ter": 2, "is": 3, "wet": 4}
    tokenizer = Tokenizer(models.WordPiece(vocab=words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    vocabulary = HuggingFaceVocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer), "sha256:3")
    parts, rest = feed(vocabulary, [1, 2, 3, 4])
    assert "".join(parts) + rest == "water is wet"


def test_the_byte_alphabet_is_a_bijection() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))
    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())


@given(spelled=st.binary(max_size=12))
def test_naming_bytes_loses_nothing_that_is_text(spelled: bytes) -> None:
    named = name_bytes(spelled)
    try:
        assert named == spelled.decode()
    except UnicodeDecodeError:
        assert "<0x" in named


def test_a_decoder_that_joins_otherwise_has_no_bytes() -> None:
    assert spell_bytes({"type": "WordPiece", "prefix": "##", "cleanup": True}) is None
    assert spell_bytes({"type": "Sequence", "decoders": [{"type": "CTC"}]}) is None


def test_loading_reads_the_file_and_its_fingerprint(tmp_path: Path) -> None:
    import hashlib

    build_tokenizer().save_pretrained(tmp_path)
    vocabulary = load_vocabulary(tmp_path, trust_remote_code=False)
    digest = hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    assert vocabulary.fingerprint == f"sha256:{digest}"
    assert read_template(tmp_path) == TEMPLATE


def save_twice(place: Path) -> tuple[Path, Path]:
    """Save one tokenizer into a base's folder and a tuning's."""
    folders = place / "base", place / "tuned"
    for folder in folders:
        build_tokenizer().save_pretrained(folder)
        (folder / "config.json").write_text('{"model_type": "llama"}')
    return folders


def change(folder: Path, name: str, **settings: object) -> None:
    file = folder / name
    found = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(found | settings))


def test_the_same_files_are_loaded_once_whatever_template_lies_beside_them(tmp_path: Path) -> None:
    base, tuned = save_twice(tmp_path)
    change(tuned, "tokenizer_config.json", chat_template="{{ messages }}", padding_side="left")
    (tuned / "chat_template.jinja").write_text("{{ messages }}")
    change(tuned, "config.json", transformers_version="4.30.0")
    first = load_vocabulary(base, trust_remote_code=False)
    assert load_vocabulary(tuned, trust_remote_code=False) is first
    assert read_template(tuned) != read_template(base)
    # An adapter has no config: it reads as the model does that it is for, unless it is for none that is known.
    (tuned / "config.json").unlink()
    assert load_vocabulary(tuned, trust_remote_code=False, base=base) is first
    assert load_vocabulary(tuned, trust_remote_code=False) is not first


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tokenizer_config.json", {"pad_token": "<s>"}),
        ("tokenizer_config.json", {"fix_mistral_regex": True}),
        ("config.json", {"model_type": "gemma"}),
        ("special_tokens_map.json", {"eos_token": "<s>"}),
    ],
)
def test_what_differs_is_loaded_by_itself(tmp_path: Path, name: str, settings: dict[str, object]) -> None:
    base, tuned = save_twice(tmp_path)
    change(tuned, name, **settings)
    first = load_vocabulary(base, trust_remote_code=False)
    assert load_vocabulary(tuned, trust_remote_code=False) is not first
    assert load_vocabulary(base, trust_remote_code=True) is not first


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_settings_that_cannot_be_read_are_none_in_common(tmp_path: Path, name: str) -> None:
    """A folder with torn settings is not taken for one without any."""
    base, tuned = save_twice(tmp_path)
    (base / name).unlink()
    (tuned / name).write_text("{")
    first = load_vocabulary(base, trust_remote_code=False)
    assert first.size
    with pytest.raises(WeightsError, match=name):
        load_vocabulary(tuned, trust_remote_code=False)


def test_a_word_more_in_the_tokenizers_file_is_another_vocabulary(tmp_path: Path) -> None:
    base, tuned = save_twice(tmp_path)
    more = build_tokenizer()
    more.add_tokens(["<more>"])
    more.save_pretrained(tuned)
    first, second = (load_vocabulary(folder, trust_remote_code=False) for folder in (base, tuned))
    assert second.size == first.size + 1


def test_nothing_is_kept_of_a_vocabulary_that_nobody_uses(tmp_path: Path) -> None:
    base, _ = save_twice(tmp_path)
    vocabulary = load_vocabulary(base, trust_remote_code=False)
    seen = weakref.ref(vocabulary)
    del vocabulary
    gc.collect()
    assert seen() is None


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no tokenizer"):
        load_vocabulary(tmp_path, trust_remote_code=False)
    assert read_template(tmp_path) is None


def test_a_torn_tokenizer_is_named(tmp_path: Path) -> None:
    build_tokenizer().save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text()[:500])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_vocabulary(tmp_path, trust_remote_code=False)


def test_a_tokenizer_of_another_kind_is_named(tmp_path: Path) -> None:
    """The library says so with a bare Exception."""
    build_tokenizer().save_pretrained(tmp_path)
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load_vocabulary(tmp_path, trust_remote_code=False)


CODE = """
from transformers import PreTrainedTokenizerFast

class OwnTokenizer(PreTrainedTokenizerFast):
    vocab_files_names = {"own_file": "own.tiktoken"}

    def __init__(self, own_file, **settings):
        settings.pop("tokenizer_file", None)
        super().__init__(tokenizer_file=own_file, **settings)
"""


@pytest.mark.parametrize("file", ["tokenizer.json", "own.tiktoken"])
def test_code_of_its_own_must_be_allowed(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the tokenizer's file is of a kind that only its code knows."""
    folder = tmp_path / "own"
    build_tokenizer().save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "OwnTokenizer"}
    settings["auto_map"] = {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenization_own.py").write_text(CODE.replace("own.tiktoken", file))
    (folder / "tokenizer.json").rename(folder / file)
    with pytest.raises(WeightsError, match="cannot be loaded") as caught:
        load_vocabulary(folder, trust_remote_code=False)
    assert "--trust-remote-code" in caught.value.remedy
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    vocabulary = load_vocabulary(folder, trust_remote_code=True)
    assert vocabulary.encode("bread") == VOCABULARIES["byte-level"].encode("bread")


@pytest.mark.parametrize("added", [True, False])
def test_whether_the_tokenizer_adds_bos_is_seen(added: bool) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = build_tokenizer()
    if added:
        backend = tokenizer.backend_tokenizer
        backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    vocabulary = HuggingFaceVocabulary(tokenizer, "sha256:4")
    assert vocabulary.adds_bos is added
    assert vocabulary.encode("bread")[0] != BOS
