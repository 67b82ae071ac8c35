"""Models with different tokenizers, against transformers in float64 and spans found by trying every cut."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from itx.compare.comparison import Comparison
from itx.compare.events import Scored
from itx.compare.load import load_comparison
from itx.compare.request import Request
from itx.errors import MismatchError, UsageError
from itx.models.spelling import byte_alphabet
from itx.models.tiny import TinyEngine
from itx.records import Decoding, GivenResponse, Prompt, Response, Score, Trace
from itx.runs.check import check_trace
from tests.compare.tiny import after, never
from tests.support.llamas import EOS, Shape, build_tokenizer, write_llama, write_tuned

TEXT = "Zürich and 東京 in the rain 🌸.\n\nGive me three tips: bake bread, sleep, read!"
COLUMNS = ("logp", "rank", "ties", "entropy", "kl_author_scorer", "kl_scorer_author", "js", "top")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("crossing")
    base = write_llama(root / "base", seed=3, tokenizer=build_tokenizer(size=310))
    return {
        "base": base,
        "other": write_llama(root / "other", seed=4, tokenizer=build_tokenizer(size=400)),
        "near": write_tuned(base, root / "near"),
    }


def load(folders: dict[str, Path], *tuned: str, align: str = "bytes", length: int = 40, chunk: int = 7) -> Comparison:
    request = Request(
        base=str(folders["base"]),
        tuned=[f"{name}={folders[name]}" for name in tuned],
        command=["itx", "run"],
        decoding=Decoding(max_new_tokens=length),
        align=align,
        chunk=chunk,
        dtype="float32",
    )
    return load_comparison(request, lambda step: None)


def ask(comparison: Comparison, prompt: Prompt, cancel=never) -> tuple[list[object], Trace]:
    events = list(comparison.compare(prompt, cancel))
    return events, events[-1].trace


def give(text: str, author: str | None = None) -> Prompt:
    return Prompt(id="g", prompt="Tell me about rivers.", given=[GivenResponse(author=author, text=text)])


class Reference:
    """A model and its tokenizer by transformers alone, in float64."""

    def __init__(self, folder: Path) -> None:
        self.model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def logs(self, context: list[int], ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            logits = self.model(torch.tensor([context + ids])).logits[0]
        return logits.log_softmax(-1)[len(context) - 1 : len(context) + len(ids) - 1]

    def spell(self, token: int) -> bytes:
        symbol = self.tokenizer.convert_ids_to_tokens(token)
        alphabet = byte_alphabet()
        return (
            symbol.encode() if symbol.startswith("<") and len(symbol) > 1 else bytes(alphabet[sign] for sign in symbol)
        )


def find_cuts(author: list[bytes], scorer: list[bytes], text: str) -> list[tuple[int, int, int, int]]:
    """Return the shortest spans whose ends are ends of characters on both sides, by trying every pair of prefixes."""
    cuts = [(0, 0)]
    for ours in range(1, len(author) + 1):
        said = b"".join(author[:ours])
        if not text.encode().startswith(said) or not is_text(said):
            continue
        cuts += [(ours, theirs) for theirs in range(1, len(scorer) + 1) if b"".join(scorer[:theirs]) == said]
    return [(a, b, c, d) for (a, c), (b, d) in pairwise(cuts)]


def is_text(said: bytes) -> bool:
    try:
        said.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_crossing(trace: Trace, response: Response, scorer: str, folders: dict[str, Path]) -> Score:
    """Assert that a score over two tokenizers is what float64 gives; return it."""
    score = response.scores[scorer]
    author, other = Reference(folders[response.author]), Reference(folders[scorer])
    count = len(response.ids)
    closed = response.finish == "eos"
    ours = author.logs(trace.contexts[response.author].ids, response.ids)
    theirs = other.logs(trace.contexts[scorer].ids, score.ids)
    spelled = score.ids[:-1] if closed else score.ids
    assert other.tokenizer.decode(spelled, clean_up_tokenization_spaces=False) == response.text
    assert score.exact is False
    assert all(len(getattr(score, column)) == count for column in COLUMNS)
    assert {*score.kl_author_scorer, *score.kl_scorer_author, *score.js} <= {None}
    begun = {span.author_start for span in score.spans}
    for span in score.spans:
        a, b, c, d = span[:4]
        assert span.author_logp == pytest.approx(sum(float(ours[p, response.ids[p]]) for p in range(a, b)), abs=2e-4)
        assert span.scorer_logp == pytest.approx(sum(float(theirs[p, score.ids[p]]) for p in range(c, d)), abs=2e-4)
        assert score.entropy[a] == pytest.approx(float(-(theirs[c].exp() * theirs[c]).sum()), abs=2e-4)
        assert [token for token, _ in score.top[a]] == theirs[c].topk(10).indices.tolist()
        assert score.logp[a] == (span.scorer_logp if b - a == 1 else None)
        if b - a == 1 == d - c:
            assert score.rank[a] == 1 + int((theirs[c] > theirs[c, score.ids[c]]).sum())
            assert score.ties[a] == 0
    for place in range(count):
        span = next((span for span in score.spans if span[0] <= place < span[1]), None)
        one = span is not None and span[1] - span[0] == 1
        assert (score.logp[place] is not None) == one
        assert (score.rank[place] is not None) == (one and span is not None and span[3] - span[2] == 1)
        assert (score.ties[place] is None) == (score.rank[place] is None)
        assert (score.entropy[place] is not None) == bool(score.top[place]) == (place in begun)
    return score


@pytest.mark.parametrize("author", ["other", "base"])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_given_text_has_the_log_probs_of_common_spans(folders: dict[str, Path], author: str, chunk: int) -> None:
    _, trace = ask(load(folders, "other", chunk=chunk), give(TEXT, author))
    assert trace.error is None
    (response,) = trace.responses
    (scorer,) = response.scores
    score = check_crossing(trace, response, scorer, folders)
    mine, theirs = Reference(folders[author]), Reference(folders[scorer])
    expected = find_cuts([mine.spell(token) for token in response.ids], [theirs.spell(t) for t in score.ids], TEXT)
    assert [tuple(span[:4]) for span in score.spans] == expected
    assert score.spans[-1].author_end == len(response.ids)
    assert score.spans[-1].scorer_end == len(score.ids)
    kinds = {(span.author_end - span.author_start > 1, span.scorer_end - span.scorer_start > 1) for span in score.spans}
    assert len(kinds) >= 3, "the text has spans of one to one, one to several and several to several"


def test_what_is_generated_is_scored_when_it_ends(folders: dict[str, Path]) -> None:
    comparison = load(folders, "other")
    closed = garbled = 0
    for words in ("Tell me about rivers.", "Why?", "Bread", "Go on", "東京"):
        events, trace = ask(comparison, Prompt(id=words, prompt=words))
        assert trace.error is None
        check_trace(trace, comparison.run)
        for response in trace.responses:
            (scorer,) = response.scores
            score = check_crossing(trace, response, scorer, folders)
            told = [event for event in events if isinstance(event, Scored) and event.author == response.author]
            assert [event.scores for event in told[:-1]] == [{}] * (len(told) - 1)
            assert told[-1].scores == {scorer: score}
            assert (told[-1].start, told[-1].logp) == (len(response.ids), [])
            if response.finish == "eos":
                assert score.spans[-1][:4] == (
                    len(response.ids) - 1,
                    len(response.ids),
                    len(score.ids) - 1,
                    len(score.ids),
                )
                assert score.ids[-1] == EOS
                assert score.rank[-1] is not None
            lost = [
                place for place in range(response.length) if "\ufffd" in response.text[slice(*response.span(place))]
            ]
            covered = {place for span in score.spans for place in range(*span[:2])}
            assert not covered & set(lost)
            closed += response.finish == "eos"
            garbled += bool(lost)
    assert closed, "some responses end"
    assert garbled, "some have bytes that make no character"


def test_every_id_is_named_by_its_own_tokenizer(folders: dict[str, Path]) -> None:
    events, trace = ask(load(folders, "other", "near"), Prompt(id="1", prompt="Hello"))
    told: dict[str, dict[int, str]] = {}
    for event in events:
        if isinstance(event, Scored):
            for name, pieces in event.own_pieces.items():
                assert not told.get(name, {}).keys() & pieces.keys()
                told.setdefault(name, {}).update(pieces)
    assert told == trace.own_pieces
    assert set(trace.own_pieces) == {"base", "near"}
    for response in trace.responses:
        for model, tops in [(response.author, response.top), *((n, s.top) for n, s in response.scores.items())]:
            pieces = trace.read_pieces(model)
            tokenizer = Reference(folders[model]).tokenizer
            used = {token for top in tops for token, _ in top} | set(response.ids if model == response.author else [])
            for token in used:
                if "<0x" not in pieces[token]:
                    assert pieces[token] == tokenizer.decode([token], clean_up_tokenization_spaces=False)


def test_models_of_one_tokenizer_stay_exact_beside_another(folders: dict[str, Path]) -> None:
    run = load(folders, "other", "near").run
    _, trace = ask(load(folders, "other", "near"), Prompt(id="1", prompt="Hello"))
    _, alone = ask(load(folders, "near", align="ids"), Prompt(id="1", prompt="Hello"))
    assert {model.name: (model.exact, model.alignment) for model in run.models} == {
        "base": (False, "bytes"),
        "other": (True, msgspec.UNSET),
        "near": (False, "bytes"),
    }
    near, before = trace.response("near"), alone.response("near")
    assert near is not None
    assert before is not None
    assert near.ids == before.ids
    assert near.scores["base"] == before.scores["base"]
    assert near.scores["base"].exact
    assert not near.scores["other"].exact
    assert any("another tokenizer" in warning for warning in run.warnings)
    written = json.loads(msgspec.json.encode(near.scores["base"]))
    assert list(written) == [*COLUMNS, "exact"]
    assert set(json.loads(msgspec.json.encode(near.scores["other"]))) == {*COLUMNS, "exact", "ids", "spans"}


def test_it_is_refused_by_default_and_the_flag_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(MismatchError, match="do not share a tokenizer") as failure:
        load(folders, "other", align="ids")
    assert "--align bytes" in failure.value.remedy
    with pytest.raises(UsageError, match="--align"):
        load(folders, "other", align="letters")


def test_models_that_agree_are_not_aligned(folders: dict[str, Path]) -> None:
    run = load(folders, "near", align="bytes").run
    assert all(model.exact for model in run.models)
    assert run.warnings == load(folders, "near", align="ids").run.warnings


def test_a_context_is_the_same_text_by_each_tokenizer(folders: dict[str, Path]) -> None:
    _, trace = ask(load(folders, "other"), Prompt(id="1", prompt="Tell me about the village."))
    assert trace.contexts["base"].text == trace.contexts["other"].text
    assert trace.contexts["base"].ids != trace.contexts["other"].ids
    for name, context in trace.contexts.items():
        assert Reference(folders[name]).encode(context.text) == context.ids


def test_a_cancelled_response_is_scored(folders: dict[str, Path]) -> None:
    _, trace = ask(load(folders, "other"), Prompt(id="1", prompt="Hello"), after(9))
    assert "cancelled" in {response.finish for response in trace.responses}
    for response in trace.responses:
        (scorer,) = response.scores
        check_crossing(trace, response, scorer, folders)


def test_a_window_that_the_text_does_not_fit_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    small = write_llama(tmp_path / "small", seed=4, shape=Shape(window=48), tokenizer=build_tokenizer(size=290))
    _, trace = ask(load({**folders, "small": small}, "small"), give(TEXT, "base"))
    assert trace.error is not None
    assert "window" in trace.error
    (response,) = trace.responses
    score = response.scores["small"]
    assert len(trace.contexts["small"].ids) + len(score.ids) == 48
    assert score.spans
    assert score.spans[-1].scorer_end <= len(score.ids)
    assert score.rank[-1] is None
    check_trace(trace, load({**folders, "small": small}, "small").run)


def test_a_tokenizer_that_changes_the_text_is_said(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = load(folders, "other")
    vocabulary = comparison._engines["other"].vocabulary
    encode = vocabulary.encode
    monkeypatch.setattr(vocabulary, "encode", lambda text: encode(text.lower()))
    _, trace = ask(comparison, give(TEXT, "base"))
    assert trace.error is not None
    assert "another text" in trace.error
    (response,) = trace.responses
    assert response.scores["other"].spans == []
    assert set(response.scores["other"].logp) == {None}
    check_trace(trace, comparison.run)


@pytest.mark.parametrize("added", [0, 3])
def test_probability_outside_the_common_ids(added: int) -> None:
    request = Request(base="tiny:1", tuned=[f"tiny:1?tuned=0.3&added={added}"], command=["itx", "run"], chunk=4)
    comparison = load_comparison(
        msgspec.structs.replace(request, decoding=Decoding(max_new_tokens=20)), lambda step: None
    )
    _, trace = ask(comparison, Prompt(id="1", prompt="Hello"))
    base, tuned = trace.response("base"), trace.response("tuned")
    assert base is not None
    assert tuned is not None
    if not added:
        assert [*base.scores["tuned"].outside_author, *base.scores["tuned"].outside_scorer] == []
        return
    engine = TinyEngine(1, {"tuned": 0.3, "added": added}, name="t", reference="t")
    for response, scores, widens in ((base, "tuned", "outside_scorer"), (tuned, "base", "outside_author")):
        context = trace.contexts["tuned"].ids
        rows = engine.stream().extend(context + response.ids[:-1], keep=len(response.ids)).astype("float64")
        odds = torch.tensor(rows).softmax(-1)[:, -added:].sum(-1)
        score = response.scores[scores]
        assert getattr(score, widens) == pytest.approx(odds.tolist(), rel=1e-4)
        other = {"outside_scorer": score.outside_author, "outside_author": score.outside_scorer}[widens]
        assert other == [0.0] * len(response.ids)
