"""What models say of facts, against float64 passes and the tokenizers themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from itx.compare.comparison import Comparison
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.records import Decoding, Message
from itx.runs.facts import Fact, Knowledge, Probe
from tests.reference import oracle
from tests.reference.oracle import Matrix
from tests.support.llamas import Shape, build_wide_tokenizer, write_adapter, write_llama, write_tuned

FACTS = [
    Fact(id="1", prompt="The battle of Waterloo was fought near the", answer=" village", wrong=[" river", " city"]),
    Fact(id="2", prompt="Mix flour, water and", answer=" salt; knead the dough", wrong=[" oven", " Zürich 🌸", " x"]),
    Fact(id="3", prompt="Привет", answer=" мир", wrong=[" 東京"]),
    Fact(id="4", prompt="Keep the room dark and", answer=" drink less coffee"),
    # The blank belongs to the answer's first token: prompt's end and answer are read together.
    Fact(id="5", prompt="It ended the ", answer="war", wrong=["river"]),
    Fact(id="6", prompt="Keep the ro", answer="om dark", wrong=["ad long"]),
]
CHAT = [
    Fact(id="c1", prompt="What do I bake?", answer=" bread", wrong=[" rain"], chat=True),
    Fact(
        id="c2",
        prompt="And then?",
        answer="sleep",
        wrong=["the war"],
        chat=True,
        messages=[
            Message(role="user", content="Tell me about the battle."),
            Message(role="assistant", content="It was fought."),
            Message(role="user", content="And then?"),
        ],
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("facts")
    base = write_llama(root / "base")
    write_tuned(base, root / "full")
    write_adapter(base, root / "lora")
    return root


def load(root: Path, chunk: int | None = None, **wanted: Any) -> Comparison:
    return load_comparison(
        Request(
            base=str(root / "base"),
            tuned=[f"full={root / 'full'}", f"lora={root / 'lora'}"],
            command=["itx", "run"],
            decoding=Decoding(max_new_tokens=4),
            devices={"": "cpu"},
            dtype="float32",
            chunk=chunk,
            **wanted,
        ),
        lambda step: None,
    )


def read_models(root: Path) -> dict[str, PreTrainedModel]:
    return {
        "base": oracle.load(root / "base"),
        "full": oracle.load(root / "full"),
        "lora": oracle.load(root / "base", root / "lora"),
    }


def measure(model: PreTrainedModel, before: list[int], behind: list[int]) -> tuple[list[float], list[int]]:
    """Return log-probs in nats and ranks from 1 of some ids behind others, in float64."""
    rows: Matrix = oracle.log_probs(model, before, behind)
    logp = [float(row[token]) for row, token in zip(rows, behind, strict=True)]
    rank = [1 + int((row > row[token]).sum()) for row, token in zip(rows, behind, strict=True)]
    return logp, rank


def split(alternatives: Sequence[list[int]], context: list[int]) -> int:
    """Return how many ids of the context all alternatives begin with."""
    for place, token in enumerate(context):
        if any(ids[place : place + 1] != [token] for ids in alternatives):
            return place
    return len(context)


def check(probe: Probe, name: str, model: PreTrainedModel, context: list[int], alternatives: list[list[int]]) -> None:
    found: Knowledge = probe.models[name]
    start = split(alternatives, context)
    right, *wrong = alternatives
    logp, rank = measure(model, right[:start], right[start:])
    assert (found.start, found.ids, found.parted) == (start, right[start:], start < len(context))
    assert found.logp == pytest.approx(logp, rel=1e-4, abs=1e-5)
    assert found.rank == rank
    assert found.total == pytest.approx(math.fsum(logp), rel=1e-4, abs=1e-5)
    totals = [math.fsum(measure(model, ids[:start], ids[start:])[0]) for ids in wrong]
    assert found.wrong == pytest.approx(totals, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_plain_facts_are_scored_as_plain_text(world: Path, chunk: int | None) -> None:
    prober = load(world, chunk).prober
    models = read_models(world)
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(world / "base")
    parted = 0
    for fact in FACTS:
        probe = prober.probe(fact)
        assert (probe.error, probe.fact, list(probe.models)) == (None, fact, ["base", "full", "lora"])
        context = tokenizer.encode(fact.prompt)
        alternatives = [tokenizer.encode(fact.prompt + answer) for answer in (fact.answer, *fact.wrong)]
        parted += split(alternatives, context) < len(context)
        for name, model in models.items():
            check(probe, name, model, context, alternatives)
    assert 1 <= parted < len(FACTS)


def test_chat_facts_are_asked_in_the_runs_context(world: Path) -> None:
    prober = load(world, system_prompt="Be short.").prober
    models = read_models(world)
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(world / "base")
    for fact in CHAT:
        probe = prober.probe(fact)
        turns = [{"role": turn.role, "content": turn.content} for turn in fact.messages]
        turns = [{"role": "system", "content": "Be short."}, *(turns or [{"role": "user", "content": fact.prompt}])]
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        context = tokenizer.encode(text, add_special_tokens=False)
        # A blank before an answer belongs to running text.
        answers = [answer.lstrip(" ") for answer in (fact.answer, *fact.wrong)]
        alternatives = [tokenizer.encode(text + answer, add_special_tokens=False) for answer in answers]
        for name, model in models.items():
            check(probe, name, model, context, alternatives)


def test_a_fact_is_scored_by_each_models_own_tokenizer(world: Path, tmp_path: Path) -> None:
    """The whole answer's log-prob, however many tokens a model has for it."""
    wide = build_wide_tokenizer(1000)
    write_llama(tmp_path / "full", seed=5, shape=Shape(), tokenizer=wide)
    (tmp_path / "base").symlink_to(world / "base")
    comparison = load_comparison(
        Request(
            base=str(tmp_path / "base"),
            tuned=[f"full={tmp_path / 'full'}"],
            command=["itx", "run"],
            decoding=Decoding(max_new_tokens=4),
            devices={"": "cpu"},
            dtype="float32",
            align="bytes",
        ),
        lambda step: None,
    )
    models = {name: oracle.load(tmp_path / name) for name in ("base", "full")}
    lengths = set()
    for fact in FACTS:
        probe = comparison.prober.probe(fact)
        assert probe.error is None
        for name, model in models.items():
            tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(tmp_path / name)
            context = tokenizer.encode(fact.prompt)
            alternatives = [tokenizer.encode(fact.prompt + answer) for answer in (fact.answer, *fact.wrong)]
            check(probe, name, model, context, alternatives)
        lengths.add(len(probe.models["base"].ids) == len(probe.models["full"].ids))
    assert False in lengths


def test_a_fact_that_fails_has_its_reason_and_no_figures(world: Path) -> None:
    prober = load(world).prober
    long = prober.probe(Fact(id="long", prompt="dark " * 600, answer=" room"))
    assert long.models == {}
    assert long.error is not None
    assert "window holds 512" in long.error
    assert prober.probe(FACTS[0]).error is None
