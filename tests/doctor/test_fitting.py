"""Which template the tuning used, told by its loss on the tuning's rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from itx.compare.template import ChatTemplate, read_template
from itx.data.reading import read_rows
from itx.data.row import Row, Turn
from itx.demo import ROWS, folder
from itx.doctor.fitting import Exchange, choose_rows, judge_losses, list_candidates, read_exchange, score_answer
from itx.records import Message
from tests.doctor.clinic import diagnose, find, status
from tests.models.loading import load

DEMO = {f"demo:{name}": folder(name) for name in ("base", "lora", "full")}


def row(*turns: tuple[str, str]) -> Row:
    return Row(id="a#0", turns=[Turn(role=role, text=text, trained=role == "response") for role, text in turns])


def test_a_rows_first_answer_is_taken_with_what_comes_before_it() -> None:
    exchange = read_exchange(row(("system", "Be kind."), ("instruction", "A?"), ("response", " B "), ("response", "C")))
    assert exchange == Exchange(
        messages=[Message(role="system", content="Be kind."), Message(role="user", content="A?")], answer="B"
    )
    assert read_exchange(row(("instruction", "A?"))) is None
    assert read_exchange(row(("response", "B"))) is None
    assert read_exchange(row(("instruction", "A?"), ("tool", "x"), ("response", "B"))) is None


def test_rows_are_drawn_from_all_and_the_same_ones_every_time() -> None:
    rows = [row(("instruction", f"{number}?"), ("response", "B")) for number in range(500)]
    chosen = choose_rows(rows)
    numbers = [int(exchange.messages[0].content[:-1]) for exchange in chosen]
    assert choose_rows(rows) == chosen
    assert len(set(numbers)) == 32
    assert max(numbers) > 250


def test_a_loss_is_that_of_one_whole_pass(healthy: Path) -> None:
    (engine,), _ = load(healthy / "base")
    exchange = Exchange(messages=[Message(role="user", content="How do I bake?")], answer="Mix flour and water.")
    loss, count = score_answer(engine, read_template("alpaca"), exchange)
    text = read_template("alpaca").render(exchange.messages, engine.vocabulary.variables)
    before, whole = engine.vocabulary.encode(text), engine.vocabulary.encode(text + exchange.answer)
    model = AutoModelForCausalLM.from_pretrained(healthy / "base", dtype=torch.float64)
    with torch.inference_mode():
        logp = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    expected = [float(logp[place - 1, whole[place]]) for place in range(len(before), len(whole))]
    assert count == len(expected)
    assert np.isclose(loss, -sum(expected), rtol=1e-4)


def test_the_template_of_the_demos_tuning_fits_best() -> None:
    rows = choose_rows(read_rows(str(ROWS)))
    found = diagnose("demo:base", "full=demo:full", resolved=DEMO, rows=rows)
    assert status(found, "template-loss", "full") == "pass"
    best, *others = found.losses
    assert (best.template, best.rows) == ("demo:full", 32)
    assert all(each.loss > 10 * best.loss for each in others)


def test_another_template_than_the_tunings_warns_and_names_the_better() -> None:
    rows = choose_rows(read_rows(str(ROWS)), 10)
    found = diagnose("demo:base", "full=demo:full", resolved=DEMO, rows=rows, chat_template="alpaca")
    (finding,) = find(found, "template-loss", "full")
    assert finding.status == "warn"
    assert "demo:full" in finding.remedy


def test_without_a_template_the_best_fit_is_named() -> None:
    (engine,), _ = load(folder("full"))
    from itx.doctor.finding import TemplateLoss

    losses = [TemplateLoss(model="base", template="chatml", loss=0.5, rows=32, tokens=90)]
    (finding,) = judge_losses(engine, losses, None)
    assert (finding.status, "--chat-template chatml" in finding.remedy) == ("warn", True)


@pytest.mark.parametrize("given", ["chatml", None])
def test_a_builtin_in_use_is_tried_once(healthy: Path, given: str | None) -> None:
    (engine,), _ = load(healthy / "base")
    used = None if given is None else read_template(given)
    names = list(list_candidates(engine, used))
    assert names.count("chatml") == 1
    assert names[-1] == engine.reference
    assert "mine" in list_candidates(engine, ChatTemplate("{{ messages[0].content }} -", "mine"))
