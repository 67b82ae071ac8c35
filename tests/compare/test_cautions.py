"""What loading says of models beside their ids: markers, ends of turns, generation configs, bases of adapters."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gguf import GGUFWriter

from itx.compare.cautions import warn_of_files, warn_of_markers, warn_of_turn_ends
from itx.compare.template import ChatTemplate
from itx.errors import WeightsError
from itx.models.reference import Reference, parse_reference
from tests.support.ggufs import finish

TEMPLATE = ChatTemplate(
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}",
    "here",
)


@dataclass
class Words:
    """A vocabulary of letters, and of the markers given to it."""

    markers: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def special(self) -> frozenset[int]:
        return frozenset(range(5000, 5000 + len(self.markers)))

    def encode(self, text: str) -> list[int]:
        ids = []
        while text:
            mark = next((mark for mark in self.markers if text.startswith(mark)), None)
            ids.append(5000 + self.markers.index(mark) if mark else ord(text[0]))
            text = text[len(mark) if mark else 1 :]
        return ids

    def piece(self, token: int) -> str:
        return self.markers[token - 5000] if token >= 5000 else chr(token)


@dataclass
class Model:
    name: str
    vocabulary: Words
    eos: frozenset[int] = frozenset()


ALL = Words(("<|user|>", "<|assistant|>", "<|end|>"))


def name(path: Path, called: str = "lora") -> Reference:
    return parse_reference(str(path), called, {})


def write_folder(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / f"{file}.json").write_text(json.dumps(content))
    return folder


def test_markers_that_base_reads_as_pieces() -> None:
    base = Model("base", Words(("<|user|>",)))
    (warning,) = warn_of_markers("<|user|>Hi<|assistant|>", base, Model("t", ALL))
    assert "1 of the chat template's 2 markers" in warning
    assert "'<|assistant|>' as 13" in warning
    assert warn_of_markers("<|user|>Hi<|assistant|>", Model("base", ALL), Model("t", ALL)) == []


def test_turns_that_end_with_no_end_of_the_responses() -> None:
    (warning,) = warn_of_turn_ends(TEMPLATE, [Model("a", ALL, frozenset({7})), Model("b", ALL, frozenset({5002}))])
    assert "<|end|> (5002)" in warning
    assert "responses of a:" in warning
    assert warn_of_turn_ends(TEMPLATE, [Model("plain", Words(()))]) == []


def test_generation_configs_that_change_greedy_decoding(tmp_path: Path) -> None:
    base = write_folder(tmp_path / "base", generation_config={"repetition_penalty": 1.0, "temperature": 0.7})
    full = write_folder(tmp_path / "full", generation_config={"repetition_penalty": 1.3})
    (warning,) = warn_of_files([name(base, "base"), name(full, "full")])
    assert "generation config of full sets repetition_penalty = 1.3" in warning
    (full / "generation_config.json").write_text("{")
    with pytest.raises(WeightsError, match="generation_config"):
        warn_of_files([name(base, "base"), name(full, "full")])


def test_an_adapter_of_another_base(tmp_path: Path) -> None:
    base, other = (write_folder(tmp_path / each, config={}) for each in ("base-3", "other-7"))
    references = [name(base, "base")]
    for named, count in ((str(other), 1), (str(base), 0), ("someone/Base_3", 0), ("../base-3", 0), ("x" * 5000, 1)):
        lora = write_folder(tmp_path / f"lora{len(references)}", adapter_config={"base_model_name_or_path": named})
        references.append(name(lora, "lora"))
        assert len(warn_of_files([references[0], references[-1]])) == count, named


@pytest.mark.parametrize(("named", "count"), [("Base 3", 0), ("Another 7B", 1), (None, 0)])
def test_a_gguf_lora_of_another_base(tmp_path: Path, named: str | None, count: int) -> None:
    for file in ("base-3-q4_k_m", "lora"):
        writer = GGUFWriter(tmp_path / f"{file}.gguf", "llama")
        if file == "lora":
            writer.add_type("adapter")
        if named is not None:
            writer.add_base_model_name(0, named)
        finish(writer, tmp_path / f"{file}.gguf")
    found = warn_of_files([name(tmp_path / "base-3-q4_k_m.gguf", "base"), name(tmp_path / "lora.gguf")])
    assert len(found) == count
