"""GGUF files that cannot be compared: the cause, the next command and the code, and not a word of llama.cpp's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from itx.errors import MemoryExhaustedError
from tests.faults.running import Done, read_traces, run_itx, write_prompts
from tests.support import ggufs
from tests.support.llamas import write_llama

pytestmark = pytest.mark.weights

pytest.importorskip("llama_cpp")

TENSORS = ggufs.draw_tensors()
# How llama.cpp begins its lines: a function's name, or a place in its source.
_NATIVE = re.compile(r"^\s*(llama|ggml|gguf|load|print_info|set_abort|init_tokenizer)\w*:|\.c(pp)?:\d+:", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Files:
    """A base, its tunings and prompts, none of which is at fault."""

    base: Path
    full: Path
    lora: Path
    prompts: Path
    torch: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("ggufs")
    return Files(
        base=ggufs.write_model(root / "base.gguf", TENSORS),
        full=ggufs.write_model(root / "full.gguf", ggufs.move_tensors(TENSORS)),
        lora=ggufs.write_lora(root / "lora.gguf", ggufs.draw_lora(TENSORS)),
        prompts=write_prompts(root / "prompts.jsonl", [{"id": "p", "prompt": "Tell me of the bread"}]),
        torch=write_llama(root / "torch"),
    )


def run(files: Files, folder: Path, *words: str | Path) -> Done:
    """Compare with one thread, and assert that llama.cpp is not heard and does not end the process."""
    fixed = ("--prompts", files.prompts, "--out", "run", "--threads", "1", "--max-new-tokens", "12", "--device", "cpu")
    # Without torch a new interpreter starts sooner than a copy of one that has it.
    done = run_itx("run", *words, *fixed, folder=folder, changes=None if files.torch in words else {})
    found = _NATIVE.search(done.text)
    assert found is None, f"{found!r}\n{done.text}"
    return done


def refuse(files: Files, folder: Path, *words: str | Path, code: int = 1) -> str:
    """Assert that a comparison is refused with a cause and a next command, and return what it says."""
    done = run(files, folder, *words)
    assert done.code == code, done.text
    assert done.out == ""
    assert not (folder / "run").exists()
    assert len(done.err.strip().splitlines()) >= 2, f"no next command: {done.err}"
    return done.err


def test_sound_files_are_compared_and_llama_cpp_is_not_heard(files: Files, tmp_path: Path) -> None:
    done = run(files, tmp_path, files.base, f"lora={files.lora}", f"full={files.full}")
    assert done.code == 0, done.text
    (trace,) = read_traces(tmp_path / "run").values()
    assert [response.author for response in trace.responses] == ["base", "lora", "full"]
    log = (tmp_path / "state" / "itx" / "itx.log").read_text(encoding="utf-8")
    assert _NATIVE.search(log), "what llama.cpp said is in the log"


def no_gguf(path: Path) -> Path:
    path.write_text("No model is in here, whatever its name says.\n")
    return path


def cut(path: Path) -> Path:
    data = ggufs.write_model(path, TENSORS).read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


def unknown(path: Path) -> Path:
    return ggufs.write_model(path, TENSORS, architecture="perceptron9")


def without_a_tensor(path: Path) -> Path:
    return ggufs.write_model(path, {name: TENSORS[name] for name in TENSORS if "blk.1.ffn_up" not in name})


def with_a_corrupt_number(path: Path) -> Path:
    return ggufs.write_model(path, TENSORS, extra={"llama.block_count": 0})


BROKEN: dict[Callable[[Path], Path], str] = {
    no_gguf: "is no GGUF file",
    cut: "cut short",
    unknown: "perceptron9",
    without_a_tensor: "blk.1.ffn_up.weight",
    with_a_corrupt_number: "0 layers",
}


@pytest.mark.parametrize("write", BROKEN, ids=lambda write: write.__name__)
def test_a_broken_file(files: Files, tmp_path: Path, write: Callable[[Path], Path]) -> None:
    broken = write(tmp_path / "broken.gguf")
    said = refuse(files, tmp_path, files.base, broken)
    assert BROKEN[write] in said
    assert str(broken) in said
    if write in {unknown, without_a_tensor}:
        # llama.cpp's own words, the first of them; the others are where the message says.
        log = tmp_path / "state" / "itx" / "itx.log"
        assert str(log) in said
        assert BROKEN[write] in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("write", [cut, unknown], ids=lambda write: write.__name__)
def test_a_broken_base(files: Files, tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert BROKEN[write] in refuse(files, tmp_path, write(tmp_path / "broken.gguf"), files.full)


def test_a_file_that_is_missing(files: Files, tmp_path: Path) -> None:
    assert "There is no file" in refuse(files, tmp_path, files.base, tmp_path / "missing.gguf")


def test_a_lora_for_another_architecture(files: Files, tmp_path: Path) -> None:
    lora = ggufs.write_lora(tmp_path / "other.gguf", ggufs.draw_lora(TENSORS), architecture="qwen2")
    said = refuse(files, tmp_path, files.base, lora)
    assert "qwen2" in said
    assert "llama" in said


def test_a_lora_of_other_shapes(files: Files, tmp_path: Path) -> None:
    larger = ggufs.draw_tensors(ggufs.Shape(hidden=96, intermediate=128))
    lora = ggufs.write_lora(tmp_path / "larger.gguf", ggufs.draw_lora(larger))
    said = refuse(files, tmp_path, files.base, lora)
    assert str(lora) in said
    assert str(files.base) in said


def test_a_lora_for_layers_the_base_lacks(files: Files, tmp_path: Path) -> None:
    deeper = ggufs.draw_tensors(ggufs.Shape(layers=4))
    said = refuse(files, tmp_path, files.base, ggufs.write_lora(tmp_path / "deeper.gguf", ggufs.draw_lora(deeper)))
    assert "does not fit" in said


def test_a_lora_cut_short(files: Files, tmp_path: Path) -> None:
    lora = tmp_path / "cut.gguf"
    lora.write_bytes(files.lora.read_bytes()[:-5000])
    assert "cut short" in refuse(files, tmp_path, files.base, lora)


def test_a_lora_that_lacks_one_of_two_matrices(files: Files, tmp_path: Path) -> None:
    half = {
        name: values for name, values in ggufs.draw_lora(TENSORS).items() if not name.endswith("attn_q.weight.lora_b")
    }
    said = refuse(files, tmp_path, files.base, ggufs.write_lora(tmp_path / "half.gguf", half))
    assert "does not fit" in said


def test_a_lora_alone(files: Files, tmp_path: Path) -> None:
    said = refuse(files, tmp_path, files.lora, code=2)
    assert "does not name its base" in said
    assert "itx compare BASE.gguf" in said


def test_a_lora_as_base(files: Files, tmp_path: Path) -> None:
    assert "is a LoRA" in refuse(files, tmp_path, files.lora, files.full)


def test_a_gguf_lora_on_a_torch_base(files: Files, tmp_path: Path) -> None:
    said = refuse(files, tmp_path, files.torch, files.lora)
    assert "the base is no GGUF file" in said


def test_a_lora_is_not_attached_to_a_file_that_is_not_the_base(files: Files, tmp_path: Path) -> None:
    said = refuse(files, tmp_path, files.torch, f"full={files.full}", f"lora={files.lora}")
    assert "the base is no GGUF file" in said


def test_a_base_of_another_tokenizer(files: Files, tmp_path: Path) -> None:
    assert "token" in refuse(files, tmp_path, files.torch, files.full)


def test_no_chat_template(files: Files, tmp_path: Path) -> None:
    bare = ggufs.write_model(tmp_path / "bare.gguf", TENSORS, template=None)
    said = refuse(files, tmp_path, bare, files.lora)
    assert "--chat-template" in said
    assert "alpaca" in said


@pytest.mark.parametrize("template", ["{% for %}", "{{ messages[9].content.nothing }}"])
def test_a_chat_template_that_cannot_be_rendered(files: Files, tmp_path: Path, template: str) -> None:
    broken = ggufs.write_model(tmp_path / "broken.gguf", ggufs.move_tensors(TENSORS), template=template)
    assert "template" in refuse(files, tmp_path, files.base, broken)


def test_engine_torch_for_a_gguf_file(files: Files, tmp_path: Path) -> None:
    said = refuse(files, tmp_path, files.base, files.full, "--engine", "torch", code=2)
    assert "--engine torch" in said


def test_engine_llama_for_a_folder(files: Files, tmp_path: Path) -> None:
    assert "--engine llama" in refuse(files, tmp_path, files.torch, files.torch, "--engine", "llama", code=2)


def test_a_window_too_large_for_the_weights(files: Files, tmp_path: Path) -> None:
    said = refuse(files, tmp_path, files.base, files.full, "--ctx-size", "513", code=2)
    assert "--ctx-size 512 or less" in said


def test_a_prompt_that_the_window_does_not_hold(files: Files, tmp_path: Path) -> None:
    """It is the prompt's failure: the others are answered, and it is named."""
    rows = [{"id": "long", "prompt": "bread and sleep " * 30}, {"id": "short", "prompt": "bread"}]
    prompts = write_prompts(tmp_path / "two.jsonl", rows)
    words = (files.base, files.full, "--ctx-size", "64", "--threads", "1", "--prompts", prompts, "--out", "run")
    done = run_itx("run", *words, folder=tmp_path, changes={})
    assert done.code == 3, done.text
    assert "long" in done.err
    assert _NATIVE.search(done.text) is None
    traces = read_traces(tmp_path / "run")
    assert "window" in (traces["long"].error or "")
    assert traces["short"].error is None
    assert len(traces["short"].contexts["base"].ids) + len(traces["short"].responses[0].ids) <= 64


def test_a_window_that_holds_no_prompt(files: Files, tmp_path: Path) -> None:
    rows = [{"id": "long", "prompt": "bread and sleep " * 30}]
    prompts = write_prompts(tmp_path / "long.jsonl", rows)
    words = (files.base, files.full, "--ctx-size", "32", "--threads", "1", "--prompts", prompts, "--out", "run")
    done = run_itx("run", *words, folder=tmp_path, changes={})
    assert done.code == 1, done.text
    assert "The context of base has" in done.err
    assert "holds 32" in done.err


def test_a_window_too_small_for_anything(files: Files, tmp_path: Path) -> None:
    assert "--ctx-size" in refuse(files, tmp_path, files.base, files.full, "--ctx-size", "4", code=2)


def test_a_file_larger_than_memory(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from itx.models.llama import load
    from itx.models.options import Options
    from itx.models.reference import parse_reference

    monkeypatch.setattr(load, "read_free_memory", lambda: 100_000)
    loader = load.LlamaLoader(Options(), lambda *told: None)
    with pytest.raises(MemoryExhaustedError) as caught:
        loader.load(parse_reference(str(files.base), "base", {}))
    assert str(files.base) in caught.value.cause
    assert "smaller quantisation" in caught.value.remedy
    monkeypatch.setattr(load, "read_free_memory", lambda: None)
    loader.load(parse_reference(str(files.base), "base", {}))


def test_free_memory_is_what_the_system_says() -> None:
    from itx.models.host import read_free_memory

    free = read_free_memory()
    if not Path("/proc/meminfo").exists():
        assert free is None
        return
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert free is not None
    assert 1 << 20 < free < int(total.split()[1]) * 1024


def test_a_name_that_is_no_text(files: Files, tmp_path: Path) -> None:
    """A file's name may hold any bytes but these are no model's name; a link to it is enough."""
    odd = Path(str(tmp_path / "b\udcff \x1b[31m.gguf"))
    odd.write_bytes(files.full.read_bytes())
    said = refuse(files, tmp_path, files.base, odd, code=2)
    assert "not UTF-8" in said


def test_a_name_of_another_script(files: Files, tmp_path: Path) -> None:
    odd = tmp_path / "東京 \x1b[31m ü.gguf"
    odd.write_bytes(files.full.read_bytes())
    done = run(files, tmp_path, files.base, odd)
    assert done.code == 0, done.text
    assert len(read_traces(tmp_path / "run")) == 1
