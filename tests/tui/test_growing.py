"""What there is of a growing response when it is sketched: whole words, due responses, the newest state."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from itx.compare.events import Emitted, Scored, Started
from itx.data.folding import fold
from itx.records import Context, Message, Prompt
from itx.tui.answers import Answer
from itx.tui.growing import Growing, ask, cut_response, find_end
from tests.support.traces import build_run, build_trace
from tests.tui.fakes import FakeComparer

PROMPT = Prompt(id="q", prompt="Where?")


def begin(*authors: str) -> Growing:
    return Growing(Started(prompt=PROMPT, contexts={"base": Context(ids=[], text="")}, authors=list(authors)), None)


def emit(growing: Growing, author: str, position: int, text: str, *, is_eos: bool = False) -> None:
    growing.add(Emitted(author=author, position=position, id=position + 7, piece=text, text=text, is_eos=is_eos))


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="ab don't 3.5,-1 C+#½ 日本水\u0301é\n.", max_size=30),
    st.text(alphabet="ab't 3.5,-1+#½日\u0301é .", max_size=8),
)
def test_no_word_that_is_kept_can_be_changed_by_what_comes(text: str, more: str) -> None:
    kept, whole = fold(text[: find_end(text)]), fold(text + more)
    count = len(kept.words)
    assert count >= len(fold(text).words) - 2, "of one character come at most two words"
    assert whole.words[:count] == kept.words
    assert whole.starts[:count] == kept.starts
    assert whole.ends[:count] == kept.ends


def test_the_last_word_is_left_out_until_the_response_ends() -> None:
    answer = Answer("full", ids=[1, 2, 3], parts=["Carry", " a", " bot"])
    response = cut_response(answer)
    assert (response.text, response.ids, response.ends) == ("Carry a", [1, 2, 3], [5, 7, 11])
    ended = Answer("full", ids=[1, 2, 3, 0], parts=["Carry", " a", " bottle", ""], end=3)
    response = cut_response(ended)
    assert response.text == "Carry a bottle"
    assert response.length == 3


def test_a_response_is_sketched_at_its_pace_and_only_with_news() -> None:
    growing = begin("base", "full")
    assert growing.choose(0.0, 0.5) is None, "nothing is written yet"
    for position, text in enumerate(("Carry", " a", " bottle")):
        emit(growing, "full", position, text)
    found = growing.choose(0.1, 0.5)
    assert found is not None
    assert found[0] == ask(PROMPT)
    assert (found[1].author, found[1].text) == ("full", "Carry a")
    emit(growing, "full", 3, " of")
    assert growing.choose(0.5, 0.5) is None, "too soon"
    emit(growing, "full", 4, " water")
    found = growing.choose(0.6, 0.5)
    assert found is not None
    assert found[1].text == "Carry a bottle of", "only the newest state counts"
    assert growing.choose(2.0, 0.5) is None, "nothing is new"
    emit(growing, "full", 5, "s")
    assert growing.choose(3.0, 0.5) is None, "no word more"


def test_responses_take_turns_and_one_that_failed_is_left() -> None:
    growing = begin("base", "full")
    for position in range(3):
        emit(growing, "base", position, f" word{position}")
        emit(growing, "full", position, f" word{position}")
    authors = []
    for turn in range(4):
        found = growing.choose(0.3 * turn, 0.5)
        authors.append(found[1].author if found is not None else "")
        for author in ("base", "full"):
            emit(growing, author, 3 + turn, f" more{turn}")
    assert authors == ["base", "full", "base", "full"]
    growing.give_up("base")
    found = growing.choose(9.0, 0.5)
    assert found is not None
    assert found[1].author == "full"
    assert growing.choose(9.0, 0.5) is None


def test_scores_that_come_are_news() -> None:
    comparer = FakeComparer(
        build_run(), [build_trace("1", "Where?", {"base": "", "full": "Near the river."})], chunk=99
    )
    growing = begin("full")
    events = [
        event
        for event in comparer.compare(PROMPT, lambda: False)
        if isinstance(event, Emitted | Scored) and event.author == "full"
    ]
    for event in events:
        if isinstance(event, Emitted):
            growing.add(event)
    found = growing.choose(0.0, 0.5)
    assert found is not None
    assert found[1].logp == []
    growing.add(next(event for event in events if isinstance(event, Scored)))
    found = growing.choose(1.0, 0.5)
    assert found is not None
    assert len(found[1].logp) == len(found[1].ids)


def test_the_question_has_all_that_the_models_were_told() -> None:
    earlier = [Message(role="user", content="Hello."), Message(role="assistant", content="Yes?")]
    prompt = Prompt(id="q", prompt="Where?", messages=[*earlier, Message(role="user", content="Where?")])
    system = Message(role="system", content="Be brief.")
    assert ask(prompt).messages == earlier
    assert ask(prompt, "Be brief.").messages == [system, *earlier]
    own = Prompt(id="q", prompt="Where?", messages=[system, Message(role="user", content="Where?")])
    assert ask(own, "Be long.").messages == [system]
