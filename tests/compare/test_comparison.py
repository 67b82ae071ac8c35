"""The loop itself, on tiny engines: order, chunks, ends, cancelling, windows, failures."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itx.compare.events import Emitted, Scored
from itx.models.contract import Rows
from itx.models.tiny import EOS, TinyEngine, TinyStream
from itx.records import Decoding, GivenResponse, Message, Prompt
from tests.compare.tiny import PROMPT, after, ask, check_agreement, load


def give(author: str | None = None, text: str | None = None, ids: list[int] | None = None) -> Prompt:
    return Prompt(id="g", prompt="Tell me.", given=[GivenResponse(author=author, text=text, ids=ids)])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float64)
    values = values - values.max(axis=1, keepdims=True)
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def test_every_model_scores_every_other() -> None:
    comparison = load("one=tiny:1?tuned=0.2", "two=tiny:1?tuned=0.4")
    _, trace = ask(comparison)
    assert {response.author: set(response.scores) for response in trace.responses} == {
        "base": {"one", "two"},
        "one": {"base", "two"},
        "two": {"base", "one"},
    }
    assert [response.author for response in trace.responses] == ["base", "one", "two"]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 29, 30, 31, 64])
def test_figures_are_those_of_one_full_pass(chunk: int) -> None:
    comparison = load(chunk=chunk)
    engines = {
        "base": TinyEngine(1, name="b", reference="b"),
        "tuned": TinyEngine(1, {"tuned": 0.3}, name="t", reference="t"),
    }
    _, trace = ask(comparison)
    for response in trace.responses:
        context = trace.contexts[response.author].ids
        rows = {
            name: log_softmax(np.asarray(engine.stream().extend(context + response.ids[:-1], keep=len(response.ids))))
            for name, engine in engines.items()
        }
        mine = rows[response.author]
        places = np.arange(len(response.ids))
        assert response.ids == mine.argmax(axis=1).tolist()
        assert np.allclose(response.logp, mine[places, response.ids], atol=1e-5)
        for name, score in response.scores.items():
            theirs = rows[name]
            p = np.exp(mine)
            assert np.allclose(score.logp, theirs[places, response.ids], atol=1e-5)
            assert np.allclose(score.kl_author_scorer, (p * (mine - theirs)).sum(axis=1), rtol=1e-4, atol=1e-6)
            assert score.rank == (1 + (theirs > theirs[places, response.ids][:, None]).sum(axis=1)).tolist()


def test_authors_take_turns_token_by_token() -> None:
    events, trace = ask(load(length=12))
    order = [(event.position, event.author) for event in events if isinstance(event, Emitted)]
    assert order == sorted(order)
    assert len(trace.responses) == 2


def test_figures_come_at_most_a_chunk_late() -> None:
    events, _ = ask(load(chunk=5))
    waiting: dict[str, int] = {}
    for event in events:
        if isinstance(event, Emitted):
            waiting[event.author] = waiting.get(event.author, 0) + 1
            assert waiting[event.author] <= 5
        elif isinstance(event, Scored):
            assert waiting.pop(event.author) == len(event.logp)


def test_a_model_against_itself_is_not_shifted() -> None:
    _, trace = ask(load("tiny:1"))
    for response in trace.responses:
        for score in response.scores.values():
            assert set(score.rank) == {1}
            assert max(score.kl_author_scorer) < 1e-5
            assert score.logp == response.logp


def test_figures_have_seven_digits_and_no_more() -> None:
    _, trace = ask(load())
    figures = [value for response in trace.responses for value in (*response.logp, *response.entropy)]
    figures += [value for response in trace.responses for score in response.scores.values() for value in score.js]
    assert all(value == float(f"{value:.7g}") for value in figures)


def test_the_limit_ends_a_response() -> None:
    _, trace = ask(load(length=6))
    assert {(response.finish, len(response.ids)) for response in trace.responses} == {("length", 6)}
    _, trace = ask(load(length=1))
    assert {(response.finish, len(response.ids)) for response in trace.responses} == {("length", 1)}


class _Scripted(TinyStream):
    """Says the ids it is told to, whatever it is fed."""

    script: Sequence[int] = ()

    def extend(self, ids: Sequence[int], keep: int = 1) -> Rows:
        rows = np.array(super().extend(ids, keep))
        place = self._seen - len(PROMPT_IDS)
        if keep == 1 and 0 <= place < len(self.script) and self.script[place] < rows.shape[1]:
            rows[-1, self.script[place]] += 500
        return rows


PROMPT_IDS = list(range(len("user: Tell me about rivers.\nassistant: ") + 1))


def script(monkeypatch: pytest.MonkeyPatch, ids: Sequence[int]) -> None:
    """Make every author write ``ids``; scorers, which keep more rows at a time, stay as they are."""

    def make_stream(engine: TinyEngine) -> TinyStream:
        return _Scripted(engine)

    monkeypatch.setattr(_Scripted, "script", ids)
    monkeypatch.setattr(TinyEngine, "stream", make_stream)


def test_a_response_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [EOS])
    _, trace = ask(load(authors="tuned"))
    (response,) = trace.responses
    assert (response.ids, response.text, response.finish, response.ends, response.length) == ([EOS], "", "eos", [0], 0)
    assert len(response.scores["base"].kl_author_scorer) == 1


def test_eos_is_a_position_and_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [*b"Oder.", EOS])
    _, trace = ask(load(authors="tuned", chunk=4))
    (response,) = trace.responses
    assert (response.ids, response.text, response.finish) == ([*b"Oder.", EOS], "Oder.", "eos")
    assert response.ends == [1, 2, 3, 4, 5, 5]
    assert len(response.logp) == 6


def test_characters_over_several_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "né🌸!"
    script(monkeypatch, [*text.encode(), EOS])
    events, trace = ask(load(authors="tuned"))
    (response,) = trace.responses
    assert response.text == text
    assert response.ends == [1, 1, 2, 2, 2, 2, 3, 4, 4]
    assert [event.text for event in events if isinstance(event, Emitted)] == ["n", "", "é", "", "", "", "🌸", "!", ""]


@pytest.mark.parametrize("last", [[EOS], []])
def test_an_unfinished_character_is_shown_as_replaced(monkeypatch: pytest.MonkeyPatch, last: list[int]) -> None:
    ids = [*"a🌸".encode()[:-1], *last]
    script(monkeypatch, ids)
    _, trace = ask(load(authors="tuned", length=len(ids)))
    (response,) = trace.responses
    assert (response.ids, response.text) == (ids, "a�")
    assert response.ends[-1] == 2


@settings(max_examples=60, deadline=None)
@given(count=st.integers(0, 70), chunk=st.integers(1, 33))
def test_cancelling_at_any_moment_keeps_and_scores_what_was_emitted(count: int, chunk: int) -> None:
    comparison = load(chunk=chunk)
    _, whole = ask(comparison)
    events, trace = ask(comparison, cancel=after(count))
    emitted = sum(isinstance(event, Emitted) for event in events)
    total = sum(len(response.ids) for response in whole.responses)
    assert emitted == min(count, total)
    for response, full in zip(trace.responses, whole.responses, strict=True):
        size = len(response.ids)
        assert response.ids == full.ids[:size]
        assert full.text.startswith(response.text)
        assert np.allclose(response.logp, full.logp[:size])
        assert response.finish == ("cancelled" if size < len(full.ids) else full.finish)
        assert all(len(score.rank) == size for score in response.scores.values())


def test_memory_is_one_chunk_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows alive at once never exceed a chunk of the author's and one of each scorer's, however long the response."""
    alive: weakref.WeakSet[_Block] = weakref.WeakSet()
    most = 0
    extend = TinyStream.extend

    def watched(stream: TinyStream, ids: Sequence[int], keep: int = 1) -> Rows:
        nonlocal most
        block = np.asarray(extend(stream, ids, keep)).view(_Block)
        alive.add(block)
        most = max(most, sum(len(rows) for rows in alive))
        return block

    monkeypatch.setattr(TinyStream, "extend", watched)
    gc.disable()
    try:
        _, trace = ask(load("a=tiny:1?tuned=0.3", "b=tiny:1?tuned=0.5", authors="a", length=100, chunk=4))
    finally:
        gc.enable()
    assert len(trace.responses[0].ids) == 100
    assert most <= 3 * 4


class _Block(np.ndarray[Any, Any]):
    """An array that can be watched."""

    __hash__ = object.__hash__


def test_given_text_is_scored_and_not_written() -> None:
    text = "The Oder — né."
    _, trace = ask(load(chunk=5), give(text=text))
    (response,) = trace.responses
    assert (response.author, response.text, response.ids) == ("tuned", text, list(text.encode()))
    assert (response.given, response.finish) == (True, "length")
    assert set(response.scores) == {"base"}


def test_a_models_own_response_given_back_has_the_same_figures() -> None:
    comparison = load(chunk=8)
    _, trace = ask(comparison)
    for response in trace.responses:
        prompt = msgspec.structs.replace(PROMPT, given=[GivenResponse(author=response.author, ids=response.ids)])
        _, again = ask(comparison, prompt)
        (scored,) = again.responses
        assert np.allclose(scored.logp, response.logp, atol=1e-5)
        for name, score in response.scores.items():
            assert scored.scores[name].rank == score.rank
            assert np.allclose(scored.scores[name].js, score.js, atol=1e-6)


def test_given_ids_keep_an_eos_within() -> None:
    _, trace = ask(load(), give(ids=[65, EOS, 66, EOS]))
    (response,) = trace.responses
    assert (response.ids, response.finish) == ([65, EOS, 66, EOS], "eos")
    assert response.text == "A<eos>B"


def test_nothing_given_is_an_empty_response() -> None:
    _, trace = ask(load(), give(text=""))
    (response,) = trace.responses
    assert (response.ids, response.text, response.length) == ([], "", 0)


def test_a_given_response_is_cancelled_like_any_other() -> None:
    _, trace = ask(load(chunk=4), give(text="abcdefgh"), after(6))
    (response,) = trace.responses
    assert (response.text, response.finish, len(response.scores["base"].rank)) == ("abcdef", "cancelled", 6)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [(give(author="nobody", text="x"), "nobody"), (give(ids=[5, 99_999]), "99999"), (give(ids=[-1]), "-1")],
)
def test_what_cannot_be_scored_is_the_prompts_error(prompt: Prompt, said: str) -> None:
    _, trace = ask(load(), prompt)
    assert said in (trace.error or "")
    assert trace.responses == []


ADDED = "tiny:1?tuned=0.3&added=4"
TOOL = 273
"""An added token: base has 272 columns."""


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_an_added_token_within_a_response_is_the_prompts_error(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Up to the token all is scored and kept, base's own response is whole, and the next prompt runs."""
    script(monkeypatch, [*b"Oder", TOOL, *b" again", EOS])
    comparison = load(ADDED, authors="tuned", chunk=chunk)
    events, trace = ask(comparison)
    assert "'<273>' (273)" in (trace.error or "")
    assert "base knows 272 ids" in (trace.error or "")
    (response,) = trace.responses
    assert (response.ids, response.finish) == ([*b"Oder", TOOL], "cancelled")
    assert response.scores["base"].rank[-1] == 273
    check_agreement(events, trace)
    script(monkeypatch, [*b"Oder", EOS])
    assert ask(comparison)[1].error is None


def test_an_added_token_stops_its_author_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = load(ADDED)
    (whole,) = ask(load(authors="base"))[1].responses
    extend = TinyStream.extend

    def say_tool(stream: TinyStream, ids: Sequence[int], keep: int = 1) -> Rows:
        rows = np.array(extend(stream, ids, keep))
        if rows.shape[1] > TOOL and stream._seen == len(PROMPT_IDS) + 2:
            rows[-1, TOOL] += 500
        return rows

    monkeypatch.setattr(TinyStream, "extend", say_tool)
    trace = ask(comparison)[1]
    assert "273" in (trace.error or "")
    assert {response.author: len(response.ids) for response in trace.responses} == {"base": 30, "tuned": 3}
    assert trace.responses[0].ids == whole.ids


def test_an_added_token_may_end_a_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing follows it, so that every model can score it: an end-of-turn marker that the tuning added."""
    monkeypatch.setattr(TinyEngine, "eos", frozenset({EOS, TOOL}))
    script(monkeypatch, [*b"Oder", TOOL])
    _, trace = ask(load(ADDED, authors="tuned"))
    assert trace.error is None
    (response,) = trace.responses
    assert (response.ids, response.finish) == ([*b"Oder", TOOL], "eos")
    _, again = ask(load(ADDED), give(ids=response.ids))
    assert again.responses[0].scores["base"].rank == response.scores["base"].rank


def test_an_added_token_within_a_given_response_is_the_prompts_error() -> None:
    _, trace = ask(load(ADDED), give(ids=[65, TOOL, 66]))
    assert "273" in (trace.error or "")
    assert trace.responses[0].ids == [65, TOOL]
    _, trace = ask(load(ADDED), give(author="base", ids=[65, TOOL]))
    assert "base knows 272" in (trace.error or "")


def test_a_context_longer_than_the_window_is_the_prompts_error() -> None:
    comparison = load("tiny:1?tuned=0.3&window=64", length=200)
    _, trace = ask(comparison, Prompt(id="1", prompt="x" * 100))
    assert "window" in (trace.error or "")
    assert len(trace.contexts["tuned"].ids) > 100
    _, after_it = ask(comparison, Prompt(id="2", prompt="x"))
    assert after_it.error is None


def test_a_response_that_reaches_the_window_ends_there() -> None:
    _, trace = ask(load("tiny:1?tuned=0.3&window=64", length=200))
    for response in trace.responses:
        assert response.finish == "length"
        assert len(trace.contexts["tuned"].ids) + len(response.ids) == 64


def test_a_given_response_beyond_the_window_is_not_cut() -> None:
    _, trace = ask(load("tiny:1?tuned=0.3&window=64"), give(text="x" * 90))
    assert "window" in (trace.error or "")


def test_memory_that_runs_out_is_the_prompts_error() -> None:
    comparison = load("tiny:1?tuned=0.3&fail=60", length=200)
    _, trace = ask(comparison)
    assert "memory" in (trace.error or "")
    _, short = ask(comparison, give(text="ok"))
    assert short.error is None


def test_python_running_out_of_memory_is_the_prompts_error(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = load()

    def exhaust(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(TinyStream, "extend", exhaust)
    _, trace = ask(comparison)
    assert "memory" in (trace.error or "")


def test_ctrl_c_and_bugs_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = load()
    for kind in (KeyboardInterrupt, ZeroDivisionError):

        def interrupt(*arguments: object, kind: type[BaseException] = kind) -> None:
            raise kind

        monkeypatch.setattr(TinyStream, "extend", interrupt)
        with pytest.raises(kind):
            ask(comparison)


def test_sampling_does_not_depend_on_what_was_asked_before() -> None:
    decoding = Decoding(max_new_tokens=30, temperature=1.0, top_p=0.9, seed=5)
    other = Prompt(id="2", prompt="Something else.")
    comparison = load(decoding=decoding)
    first = ask(comparison)[1]
    ask(comparison, other)
    assert ask(comparison)[1] == first == ask(load(decoding=decoding))[1]
    greedy = ask(load())[1]
    assert [response.ids for response in greedy.responses] != [response.ids for response in first.responses]


def test_sampling_changes_choices_and_no_figures() -> None:
    """The log-probs of a sampled response are those at temperature 1 over the whole vocabulary."""
    comparison = load(decoding=Decoding(max_new_tokens=20, temperature=0.5, top_k=3, seed=1))
    for response in ask(comparison)[1].responses:
        prompt = msgspec.structs.replace(PROMPT, given=[GivenResponse(author=response.author, ids=response.ids)])
        (again,) = ask(load(), prompt)[1].responses
        assert np.allclose(again.logp, response.logp, atol=1e-5)


def test_the_reference_and_the_messages_are_carried() -> None:
    prompt = Prompt(
        id="7",
        prompt="Another.",
        reference="The Elbe.",
        messages=[
            Message(role="user", content="A river?"),
            Message(role="assistant", content="The Oder."),
            Message(role="user", content="Another."),
        ],
    )
    _, trace = ask(load(), prompt)
    assert (trace.prompt_id, trace.prompt, trace.reference) == ("7", "Another.", "The Elbe.")
    assert "The Oder." in trace.contexts["base"].text
    assert [message.content for message in trace.messages] == ["A river?", "The Oder."]


def test_the_system_message_is_carried_where_the_conversation_has_none() -> None:
    earlier = [Message(role="system", content="Be kind."), Message(role="user", content="Another.")]
    comparison = load(system_prompt="Be brief.")
    for prompt, told in ((PROMPT, ["Be brief."]), (Prompt(id="8", prompt="Another.", messages=earlier), ["Be kind."])):
        _, trace = ask(comparison, prompt)
        assert [message.content for message in trace.messages] == told
