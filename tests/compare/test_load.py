"""From a request to a run: names, authors, placement, warnings, and nothing heavy until it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from itx.compare.events import Loading
from itx.compare.load import choose_authors, load_comparison
from itx.compare.request import Request
from itx.errors import ItxError, UsageError
from itx.records import Decoding, Thresholds
from itx.runs.description import find_differences
from tests.compare.tiny import load
from tests.support.llamas import write_adapter, write_llama, write_tuned

NAMES = ["base", "lora", "full"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("all", NAMES),
        ("tuned", ["lora", "full"]),
        ("base", ["base"]),
        ("full,base", ["base", "full"]),
        ("tuned, base", NAMES),
    ],
)
def test_authors_are_in_the_order_of_the_models(wanted: str, chosen: list[str]) -> None:
    assert choose_authors(wanted, NAMES) == chosen


@pytest.mark.parametrize("wanted", ["", "nobody", "base,,full", "all,base"])
def test_authors_that_are_no_models(wanted: str) -> None:
    with pytest.raises(UsageError, match="--authors"):
        choose_authors(wanted, NAMES)


def test_a_model_called_tuned_is_itself() -> None:
    assert choose_authors("tuned", ["base", "tuned"]) == ["base", "tuned"][1:]


def test_the_run_says_what_was_asked() -> None:
    comparison = load("mine=tiny:1?tuned=0.3", chunk=5, context="qa", system_prompt="Be brief.",
                      thresholds=Thresholds(unshifted=2, marginal=5))  # fmt: skip
    run = comparison.run
    assert [(model.name, model.role, model.method) for model in run.models] == [
        ("base", "base", None),
        ("mine", "tuned", "full"),
    ]
    assert run.models[1].reference == "tiny:1?tuned=0.3"
    assert (run.engine.chunk, run.context.policy, run.context.system) == (5, "qa", "Be brief.")
    assert (run.thresholds.unshifted, run.decoding.max_new_tokens) == (2, 30)
    assert run.command == ["itx", "run"]
    assert run.created.endswith("Z")
    assert "python" in run.versions
    assert run.warnings == []


def test_three_models_of_three_kinds(tmp_path: Path) -> None:
    base = write_llama(tmp_path / "base")
    full, lora = write_tuned(base, tmp_path / "full"), write_adapter(base, tmp_path / "lora")
    steps: list[Loading] = []
    request = Request(
        base="demo:base",
        tuned=["full=demo:full", f"lora={lora}"],
        command=[],
        resolved={"demo:base": base, "demo:full": full},
        devices={"": "cpu"},
    )
    run = load_comparison(request, steps.append).run
    assert [(model.name, model.reference, model.adapter, model.method) for model in run.models] == [
        ("base", "demo:base", None, None),
        ("full", "demo:full", None, "full"),
        ("lora", str(lora), str(lora), "lora"),
    ]
    assert len({model.weights for model in run.models}) == 3
    assert all(model.weights.startswith("sha256:") for model in run.models)
    assert (run.engine.chunk, run.engine.kv, run.models[0].dtype) == (48, "float32", "float32")
    assert run.warnings == []
    told = [step.what for step in steps]
    assert "loading base" in told
    assert "loading lora" in told
    assert all(step.done <= step.total for step in steps)


def test_an_adapter_alone_brings_its_base(tmp_path: Path) -> None:
    base = write_llama(tmp_path / "base")
    lora = write_adapter(base, tmp_path / "lora")
    run = load_comparison(Request(base=None, tuned=[f"mine={lora}"], command=[]), lambda step: None).run
    assert [(model.name, model.reference) for model in run.models] == [("base", str(base)), ("mine", str(lora))]


def test_another_scale_of_the_same_adapter_is_another_model(tmp_path: Path) -> None:
    """Resuming a run with it is refused: its figures are others."""
    base = write_llama(tmp_path / "base")
    lora = write_adapter(base, tmp_path / "lora")
    request = Request(base=str(base), tuned=[str(lora)], command=[], devices={"": "cpu"})
    recorded = load_comparison(request, lambda step: None).run
    assert find_differences(recorded, load_comparison(request, lambda step: None).run) == []
    config = lora / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 16'))
    (difference,) = find_differences(recorded, load_comparison(request, lambda step: None).run)
    assert "weights of tuned" in difference


def test_a_model_that_is_base_is_said() -> None:
    (warning,) = load("tiny:1").run.warnings
    assert "nothing was tuned" in warning


@pytest.mark.parametrize(
    "wanted",
    [
        {"devices": {"nobody": "cpu"}},
        {"chunk": 0},
        {"decoding": Decoding(temperature=-1.0)},
        {"chat_template": "no-such-template"},
        {"context": "no-such-policy"},
        {"authors": "nobody"},
        {"base": None},
    ],
)
def test_wrong_wishes_are_refused_before_anything_runs(wanted: dict[str, object]) -> None:
    with pytest.raises(ItxError) as caught:
        load(**wanted)
    assert caught.value.exit_code in {1, 2}
    assert caught.value.cause


@pytest.mark.parametrize("option", ["context", "chat_template"])
@pytest.mark.parametrize("text", [None, "{% for %}"])
def test_templates_are_read_before_weights_are(tmp_path: Path, option: str, text: str | None) -> None:
    file = tmp_path / "t.jinja"
    if text is not None:
        file.write_text(text)
    steps: list[Loading] = []
    request = Request(base="./no-weights", tuned=["./none"], command=[])
    with pytest.raises(ItxError, match=r"t\.jinja"):
        load_comparison(msgspec.structs.replace(request, **{option: str(file)}), steps.append)
    assert steps == []


def test_a_tiny_engine_is_compared_with_its_kind_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny"):
        load(str(write_llama(tmp_path / "base")))


@pytest.mark.parametrize("module", ["itx.compare", "itx.compare.events", "itx.compare.request"])
def test_what_the_screen_needs_is_light(module: str) -> None:
    heavy = ("torch", "transformers", "numpy", "jinja2")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_comparison_of_tiny_engines_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from tests.compare.tiny import ask, load\n"
        "ask(load())\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
