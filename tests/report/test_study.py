"""The study of a run, against the same figures that pandas makes of the exported tidy table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from itx.errors import RunError
from itx.records import Run, Trace
from itx.report import halves
from itx.report.figures import Figures, PairFigures, summarise
from itx.report.lean import read_lean
from itx.report.study import Bucket, Estimate, PairStudy, Study
from itx.report.studying import open_study, read_study
from itx.report.table import write_jsonl
from itx.report.tables import POSITION_BOUNDS
from itx.runs.recording import Recording
from tests.support.traces import build_run, build_trace, build_traces, write_run

NAMES = ("base", "lora", "full")
EVERY = {name: [other for other in NAMES if other != name] for name in NAMES}


def build(count: int = 24) -> tuple[Run, list[Trace]]:
    """Return a run of two tunings in which everybody scores everybody, with every peculiarity of real ones."""
    run = build_run(("lora", "full"))
    traces = build_traces(run, count, seed=3)
    for place, trace in enumerate(traces):
        if trace.error is None:
            texts = {response.author: response.text for response in trace.responses}
            finish = {response.author: response.finish for response in trace.responses}
            traces[place] = build_trace(trace.prompt_id, trace.prompt, texts, place, scorers=EVERY, finish=finish)
    return run, traces


@pytest.fixture(scope="module")
def made() -> tuple[Run, list[Trace], Study, pd.DataFrame]:
    run, traces = build()
    rows = [json.loads(line) for line in write_jsonl(run, traces)]
    return run, traces, read_study(run, iter(traces)), pd.DataFrame(rows)


def check(found: Estimate, values: pd.Series[float], prompts: pd.Series[str]) -> None:
    """The mean of a column over its rows, which are not EOS."""
    assert found.count == len(values)
    assert found.prompts == prompts.nunique()
    assert found.few == (found.prompts < 30)
    if not len(values):
        assert (found.value, found.low, found.high) == (None, None, None)
        return
    assert found.value == pytest.approx(values.mean(), abs=1e-12)
    assert (found.low is None) == (found.prompts < 2)
    if found.low is not None and found.high is not None:
        assert found.low <= found.high


def check_shares(bucket: Bucket, rows: pd.DataFrame) -> None:
    for name in ("unshifted", "marginal", "shifted"):
        check(getattr(bucket.shares, name), (rows["shift"] == name).astype(float), rows["prompt_id"])
    check(bucket.shares.kl, rows["kl_author_scorer"], rows["prompt_id"])
    assert bucket.shares.positions == len(rows)


def of_pair(table: pd.DataFrame, pair: PairStudy) -> pd.DataFrame:
    rows = table[(table["author"] == pair.author) & (table["scorer"] == pair.scorer)]
    rows = rows[rows["category"] != "eos"].copy()
    rows["length"] = rows.groupby("prompt_id")["position"].transform("count")
    return rows


def test_every_bucket_equals_the_table(made: tuple[Run, list[Trace], Study, pd.DataFrame]) -> None:
    _, _, study, table = made
    assert [(pair.author, pair.scorer) for pair in study.pairs] == [
        ("lora", "base"),
        ("full", "base"),
        ("base", "lora"),
        ("base", "full"),
        ("lora", "full"),
        ("full", "lora"),
    ]
    for pair in study.pairs:
        rows = of_pair(table, pair)
        check_shares(Bucket(label="all", start=None, end=None, shares=pair.overall), rows)
        assert [bucket.start for bucket in pair.by_position] == list(POSITION_BOUNDS)
        for bucket in pair.by_position:
            end = np.inf if bucket.end is None else bucket.end
            check_shares(bucket, rows[(rows["position"] >= bucket.start) & (rows["position"] < end)])
        assert sum(bucket.shares.positions for bucket in pair.by_relative[1:]) == len(rows)
        for bucket in pair.by_relative:
            assert bucket.start is not None and bucket.end is not None
            share = 100 * rows["position"] / rows["length"]
            check_shares(bucket, rows[(share >= bucket.start) & (share < bucket.end)])
        for bucket in pair.by_category:
            check_shares(bucket, rows[rows["category"] == bucket.label])
        shifted = rows.loc[rows["shift"] == "shifted", "kl_author_scorer"].sum()
        assert pair.kl_on_shifted.value == pytest.approx(shifted / rows["kl_author_scorer"].sum())


def test_curves_tokens_and_stops_equal_the_table(made: tuple[Run, list[Trace], Study, pd.DataFrame]) -> None:
    _, _, study, table = made
    for pair in study.pairs:
        rows = of_pair(table, pair)
        by_position = rows.groupby("position")
        for name, column in (("kl", "kl_author_scorer"), ("rank", "rank")):
            assert getattr(pair.curve, f"{name}_mean") == pytest.approx(by_position[column].mean().tolist())
            assert getattr(pair.curve, f"{name}_median") == pytest.approx(by_position[column].median().tolist())
        rows["probability"] = np.exp(rows["scorer_logp"])
        by_position = rows.groupby("position")["probability"]
        assert pair.curve.probability_mean == pytest.approx(by_position.mean().tolist())
        assert pair.curve.probability_median == pytest.approx(by_position.median().tolist())
        assert pair.curve.counts == by_position.count().tolist()

        shifted = rows[rows["shift"] == "shifted"]
        counts = shifted.groupby("token_id").size().sort_values(ascending=False)
        assert [token.shifted for token in pair.tokens] == counts.tolist()[: len(pair.tokens)]
        assert len(pair.tokens) == min(20, len(counts))
        for token in pair.tokens:
            assert token.shifted == counts[token.token]
            assert token.count == (rows["token_id"] == token.token).sum()
            assert token.rate == token.shifted / token.count
            assert token.places
            kls = []
            for place in token.places:
                row = shifted[(shifted["prompt_id"] == place.prompt_id) & (shifted["position"] == place.position)]
                assert row["token_id"].tolist() == [token.token]
                assert row["piece"].tolist() == [token.piece]
                kls.append(row["kl_author_scorer"].item())
            assert kls == sorted(kls, reverse=True)

        ends = table[(table["author"] == pair.author) & (table["scorer"] == pair.scorer) & (table["category"] == "eos")]
        assert pair.stopping.stops == len(ends)
        assert pair.stopping.rank_median == ends["rank"].median()
        assert pair.stopping.rank_mean == pytest.approx(ends["rank"].mean())
        assert pair.stopping.rank_first.value == pytest.approx((ends["rank"] == 1).mean())
        assert pair.stopping.probability.value == pytest.approx(np.exp(ends["scorer_logp"]).mean())


def test_comparisons_are_over_common_prompts(made: tuple[Run, list[Trace], Study, pd.DataFrame]) -> None:
    _, _, study, table = made
    assert [(each.path, each.author, each.first, each.second) for each in study.comparisons] == [
        ("own", None, "full", "lora"),
        ("shared", "base", "full", "lora"),
    ]
    table = table[table["category"] != "eos"]
    for each in study.comparisons:
        author = [each.first, each.second] if each.author is None else [each.author] * 2
        scorer = ["base"] * 2 if each.author is None else [each.first, each.second]
        one, two = (
            table[(table["author"] == who) & (table["scorer"] == by)] for who, by in zip(author, scorer, strict=True)
        )
        common = set(one["prompt_id"]) & set(two["prompt_id"])
        assert each.prompts == len(common)
        one, two = (rows[rows["prompt_id"].isin(common)] for rows in (one, two))
        expected = (one["shift"] == "shifted").mean() - (two["shift"] == "shifted").mean()
        assert each.shifted.value == pytest.approx(expected)
        expected = one["kl_author_scorer"].mean() - two["kl_author_scorer"].mean()
        assert each.kl.value == pytest.approx(expected)
        assert each.kl.low is not None and each.kl.high is not None and each.kl.low < expected < each.kl.high


def test_responses_are_counted(made: tuple[Run, list[Trace], Study, pd.DataFrame]) -> None:
    _, traces, study, _ = made
    for author in study.authors:
        own = [trace.response(author.name) for trace in traces if trace.error is None]
        responses = [response for response in own if response is not None]
        ended = [response for response in responses if response.finish == "eos"]
        asked = [response for response in responses if response.finish != "cancelled"]
        assert author.responses == len(responses)
        assert author.ended == author.tokens.count == len(ended)
        assert author.tokens.value == pytest.approx(np.mean([response.length for response in ended]))
        assert author.words.value == pytest.approx(np.mean([len(response.text.split()) for response in ended]))
        assert author.cut.value == pytest.approx(np.mean([response.finish == "length" for response in asked]))
        first = [
            token == top[0][0]
            for response in responses
            for token, top in zip(response.ids[: response.length], response.top, strict=False)
        ]
        assert author.argmax.value == pytest.approx(np.mean(first))
        assert author.argmax.count == len(first)


def equal(one: PairFigures, two: PairFigures) -> None:
    for name, value in msgspec.structs.asdict(one).items():
        other = getattr(two, name)
        assert other == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


def equal_figures(one: Figures, two: Figures) -> None:
    assert list(one.models) == list(two.models)
    assert {(pair.author, pair.scorer) for pair in one.pairs} == {(pair.author, pair.scorer) for pair in two.pairs}
    ordered = [sorted(each.pairs, key=lambda pair: (pair.author, pair.scorer)) for each in (one, two)]
    for first, second in zip(*ordered, strict=True):
        equal(first, second)
    for name, figures in one.models.items():
        equal(figures, two.models[name])
    assert (one.prompts, one.failed, one.thresholds) == (two.prompts, two.failed, two.thresholds)


def test_the_plain_figures_are_those_of_summarise(made: tuple[Run, list[Trace], Study, pd.DataFrame]) -> None:
    run, traces, study, _ = made
    equal_figures(summarise(run, traces), study.figures)


def test_a_run_on_disk_gives_the_same(made: tuple[Run, list[Trace], Study, pd.DataFrame], tmp_path: Path) -> None:
    run, traces, study, _ = made
    older = msgspec.structs.replace(traces[0], responses=[])
    folder = write_run(tmp_path / "run", run, [older, *traces])
    assert open_study(Recording.open(folder)) == study
    # A line that is still being written is left out.
    with (folder / "traces.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(traces[1])[:200])
    assert open_study(Recording.open(folder)) == study


def test_the_order_of_lines_moves_nothing(made: tuple[Run, list[Trace], Study, pd.DataFrame]) -> None:
    """As in a run that was merged from shards."""
    run, traces, study, _ = made
    other = read_study(run, [*traces[1::2], *traces[::2]])
    assert [pair.by_category for pair in other.pairs] == [pair.by_category for pair in study.pairs]
    assert [pair.curve for pair in other.pairs] == [pair.curve for pair in study.pairs]
    assert [pair.tokens for pair in other.pairs] == [pair.tokens for pair in study.pairs]
    assert other.comparisons == study.comparisons
    assert other.authors == study.authors
    equal_figures(other.figures, msgspec.structs.replace(study.figures, failed=other.figures.failed))


def test_two_processes_read_what_one_reads(
    made: tuple[Run, list[Trace], Study, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, traces, study, _ = made
    folder = write_run(tmp_path / "run", run, traces)
    monkeypatch.setattr(halves, "_is_worth_it", lambda lines: True)
    assert open_study(Recording.open(folder)) == study
    # Nothing of one scorer, or of one author, in one of the halves.
    kept = [
        msgspec.structs.replace(
            trace,
            responses=[
                msgspec.structs.replace(response, scores={"base": response.scores["base"]})
                for response in trace.responses
                if response.author == "full"
            ],
        )
        for trace in traces[:12]
    ]
    folder = write_run(tmp_path / "uneven", run, [*kept, *traces[12:]])
    assert open_study(Recording.open(folder)) == read_study(run, [*kept, *traces[12:]])
    with (folder / "traces.jsonl").open("ab") as file:
        file.write(b'{"prompt_id":"broken","responses":7}\n')
    with pytest.raises(RunError, match=r"traces.jsonl, line 25: Expected"):
        open_study(Recording.open(folder))


def test_lean_traces_come_as_the_recording_has_them(tmp_path: Path) -> None:
    run, traces = build(8)
    odd = msgspec.structs.replace(traces[0], prompt_id='a "quoted"\\ id é\n')
    folder = write_run(tmp_path / "run", run, [traces[0], odd, traces[1], traces[0]])
    lines = (folder / "traces.jsonl").read_bytes().splitlines(keepends=True)
    # Another writer's line, which does not begin with its id.
    moved = json.loads(lines[2])
    lines.append(json.dumps({"prompt": "", **{key: moved[key] for key in reversed(moved)}}).encode() + b"\n")
    (folder / "traces.jsonl").write_bytes(b"".join(lines))
    recording = Recording.open(folder)
    lean, whole = list(read_lean(recording)), list(recording.traces())
    assert [trace.prompt_id for trace in lean] == [trace.prompt_id for trace in whole]
    for one, two in zip(lean, whole, strict=True):
        assert [response.ends for response in one.responses] == [response.ends for response in two.responses]
        assert one.read_pieces("base").get(2) == two.pieces.get(2)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("logp", 0), 1e300),
        (("scores", "base", "rank", 0), 0),
        (("scores", "base", "ties", 0), -1),
        (("scores", "base", "js"), [0.0]),
        (("scores", "base", "top"), []),
        (("scores", "base", "kl_author_scorer", 0), None),
        (("scores", "nobody"), {}),
        (("ids", 0), -1),
        (("top",), []),
    ],
)
def test_what_a_recording_refuses_is_refused(place: Sequence[str | int], value: object, tmp_path: Path) -> None:
    run = build_run()
    folder = write_run(tmp_path / "run", run, build_traces(run, 1))
    trace = json.loads((folder / "traces.jsonl").read_text())
    target = trace["responses"][1]
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    (folder / "traces.jsonl").write_text(json.dumps(trace) + "\n")
    recording = Recording.open(folder)
    with pytest.raises(Exception, match=r"traces.jsonl, line 1") as whole:
        list(recording.traces())
    with pytest.raises(type(whole.value), match=r"traces.jsonl, line 1"):
        open_study(Recording.open(folder))


def test_runs_with_next_to_nothing() -> None:
    run = build_run(("lora", "full"))
    empty = read_study(run, [])
    assert (empty.prompts, empty.pairs, empty.comparisons, empty.authors) == (0, [], [], [])
    failed = Trace(prompt_id="1", prompt="p", error="no room")
    assert read_study(run, [failed]).failed == 1
    only_eos = build_trace("2", "p", {"base": "", "lora": "", "full": ""}, 1)
    for traces in ([only_eos], [failed, only_eos]):
        study = read_study(run, traces)
        for pair in study.pairs:
            assert pair.overall.positions == 0
            assert pair.overall.shifted == Estimate(value=None, low=None, high=None, count=0, prompts=0, few=True)
            assert pair.stopping.stops == 1
            assert pair.tokens == []
            assert pair.curve.counts == []
    one = read_study(run, [build_trace("3", "p", {"base": "It is.", "lora": "The king.", "full": "A king."}, 1)])
    for pair in one.pairs:
        found = pair.overall.shifted
        assert found.value is not None
        assert (found.low, found.high, found.few) == (None, None, True)
        assert {bucket.shares.shifted.value for bucket in pair.by_category if not bucket.shares.positions} == {None}


def test_two_tokenizers_have_no_divergence_but_ranks() -> None:
    run = build_run(("full",))
    trace = build_trace("1", "p", {"base": "It is long.", "full": "The king signed a treaty."}, 2)
    response = trace.responses[1]
    score = response.scores["base"]
    nothing = [None] * len(response.ids)
    changed = msgspec.structs.replace(
        score,
        exact=False,
        ids=[1],
        rank=[score.rank[0], *nothing[1:]],
        ties=[0, *nothing[1:]],
        logp=[score.logp[0], *nothing[1:]],
        kl_author_scorer=nothing,
        kl_scorer_author=nothing,
        js=nothing,
    )
    changed_response = msgspec.structs.replace(response, scores={"base": changed})
    study = read_study(run, [msgspec.structs.replace(trace, responses=[trace.responses[0], changed_response])] * 3)
    pair = study.pair("full", "base")
    assert pair is not None and pair.aligned and not pair.exact
    assert pair.overall.positions == 3
    assert (pair.overall.kl.value, pair.overall.kl.count) == (None, 0)
    assert pair.kl_on_shifted.value is None
    assert set(pair.curve.kl_mean) == {None}
    assert pair.curve.rank_mean[0] == score.rank[0]
    assert set(pair.curve.rank_mean[1:]) == {None}
