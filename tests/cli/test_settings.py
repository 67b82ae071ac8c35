"""Command-line words become a request."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from itx.cli.compare import compare, demo
from itx.cli.run import run
from itx.cli.settings import Settings, parse_devices, parse_thresholds
from itx.errors import UsageError
from itx.records import Thresholds


def test_two_references_are_base_and_tuned() -> None:
    request = Settings().request(["a", "x=b", "c"])
    assert (request.base, request.tuned) == ("a", ["x=b", "c"])
    assert (request.decoding.temperature, request.decoding.max_new_tokens) == (0.0, 256)
    assert not request.trust_remote_code


def test_one_reference_is_an_adapter() -> None:
    request = Settings().request(["./lora"])
    assert (request.base, request.tuned) == (None, ["./lora"])


def test_every_option_reaches_the_request() -> None:
    settings = Settings(
        authors="tuned", max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=3, seed=11, context="qa",
        chat_template="alpaca", system_prompt="Be brief.", thresholds="2,5", device=["cpu", "full=cuda:1"],
        dtype="bfloat16", threads=2, chunk=8, trust_remote_code=True,
    )  # fmt: skip
    request = settings.request(["a", "b"])
    assert request.decoding.top_k == 3
    assert request.decoding.seed == 11
    assert request.decoding.top_p == 0.9
    assert request.thresholds == Thresholds(unshifted=2, marginal=5)
    assert request.devices == {"": "cpu", "full": "cuda:1"}
    shared = {field.name for field in fields(Settings)} & set(request.__struct_fields__)
    for name in shared - {"thresholds"}:
        assert getattr(request, name) == getattr(settings, name)


@pytest.mark.parametrize("command", [compare, demo, run])
def test_each_loading_command_offers_every_setting(command: object) -> None:
    assert callable(command)
    offered = set(inspect.signature(command).parameters)
    assert {field.name for field in fields(Settings)} <= offered
    assert "settings" not in offered


@pytest.mark.parametrize("text", ["", "1", "3,1", "0,3", "a,b", "1,2,3"])
def test_thresholds_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="thresholds"):
        parse_thresholds(text)


@pytest.mark.parametrize("words", [["="], ["full="], ["cpu", "cuda"], ["a=cpu", "a=cuda"]])
def test_devices_that_are_none(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--device"):
        parse_devices(words)
