"""Runs merged from parts: what is in them is what one run would have, and nothing is lost or mixed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from itx.errors import ItxError, RunError, UsageError
from itx.records import Decoding, Mark, Prompt, Run, Shard, Thresholds, Trace
from itx.report.studying import open_claims, open_study
from itx.report.table import write_jsonl
from itx.runs.borrowings import BorrowingWriter
from itx.runs.facts import Fact, FactFile, Knowledge, Probe, read_probes
from itx.runs.lock import FolderLock
from itx.runs.marks import MarkBook
from itx.runs.merging import merge_runs
from itx.runs.recorder import Recorder
from itx.runs.recording import Recording
from itx.runs.sharding import deal, fingerprint_list, gather
from tests.support.traces import build_run, build_traces
from tests.tui.borrowings import make_borrowing

RUN = build_run(("lora", "full"))
TRACES = [
    trace
    for trace in build_traces(RUN, 14, words=20)
    if not any(response.finish == "cancelled" for response in trace.responses)
][:8]
PROMPTS = [Prompt(id=trace.prompt_id, prompt=trace.prompt) for trace in TRACES]


def probe(number: int) -> Probe:
    knowledge = Knowledge(start=1, ids=[7], logp=[-1.0 - number], rank=[1], wrong=[-2.5])
    fact = Fact(id=f"f{number}", prompt="p", answer=" a", wrong=[" b"])
    return Probe.make(fact, dict.fromkeys(("base", "lora", "full"), knowledge))


FACTS = [probe(number) for number in range(7)]


def record(folder: Path, run: Run, traces: Sequence[Trace], *, facts: Sequence[Probe] = ()) -> Path:
    with Recorder.create(folder, run) as recorder, BorrowingWriter(folder) as writer, FactFile(folder) as file:
        for trace in traces:
            recorder.append(trace, Prompt(id=trace.prompt_id, prompt=trace.prompt))
            for response in trace.responses if trace.error is None else ():
                writer.append(make_borrowing(trace.prompt_id, response), response)
        for each in facts:
            file.append(each)
    return folder


def shard(number: int, count: int, prompts: Sequence[Prompt] = PROMPTS) -> Run:
    part = Shard(number=number, count=count, prompts=len(prompts), list=fingerprint_list(prompts))
    return replace(RUN, shard=part, command=["itx", "run", "--shard", f"{number}/{count}"])


def record_shards(folder: Path, count: int) -> list[Path]:
    return [
        record(
            folder / f"part-{number}",
            shard(number, count),
            deal(TRACES, number, count),
            facts=deal(FACTS, number, count),
        )
        for number in range(1, count + 1)
    ]


def read_all(folder: Path) -> tuple[object, ...]:
    """Return everything that is said of a run: table, report, claims, facts."""
    recording = Recording.open(folder)
    recording.scan_all()
    table = "".join(write_jsonl(recording.run, recording.traces(), recording.borrowings_of))
    study = msgspec.json.encode(open_study(recording))
    claims = msgspec.json.encode(open_claims(recording))
    return table, study, claims, read_probes(folder), list(recording.traces())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("whole") / "run", RUN, TRACES, facts=FACTS)


@given(st.lists(st.integers(), max_size=40), st.integers(1, 9))
def test_what_was_dealt_is_gathered_in_order(items: list[int], count: int) -> None:
    parts = [deal(items, number, count) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == sorted(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert gather(parts) == items


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_a_run_of_shards_is_the_whole_run(tmp_path: Path, whole: Path, count: int) -> None:
    parts = record_shards(tmp_path, count)
    before = {path: path.read_bytes() for part in parts for path in part.iterdir()}
    # In whatever order they are named.
    run = merge_runs([*reversed(parts)], tmp_path / "merged")
    assert read_all(tmp_path / "merged") == read_all(whole)
    assert (tmp_path / "merged" / "traces.jsonl").read_bytes() == (whole / "traces.jsonl").read_bytes()
    assert (tmp_path / "merged" / "facts.jsonl").read_bytes() == (whole / "facts.jsonl").read_bytes()
    assert run.shard is None
    assert run.merged == [shard(number, count).command for number in range(1, count + 1)]
    assert run == Recording.open(tmp_path / "merged").run
    assert {path: path.read_bytes() for part in parts for path in part.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(part.name for part in parts), "merged"])


def test_a_merged_run_is_resumed_as_the_whole(tmp_path: Path) -> None:
    merge_runs(record_shards(tmp_path, 2), tmp_path / "merged")
    with Recorder.begin(tmp_path / "merged", RUN, PROMPTS) as recorder:
        failed = {trace.prompt_id for trace in TRACES if trace.error is not None}
        assert recorder.finished == {prompt.id for prompt in PROMPTS} - failed


def test_lines_that_were_replaced_and_judgements_are_kept(tmp_path: Path) -> None:
    parts = record_shards(tmp_path, 2)
    again = next(trace for trace in deal(TRACES, 1, 2) if trace.error is None)
    with Recorder.resume(parts[0], shard(1, 2)) as recorder:
        recorder.append(again, Prompt(id=again.prompt_id, prompt=again.prompt))
    marks = []
    for place, (part, minute) in enumerate([(parts[0], 3), (parts[1], 1), (parts[0], 2)]):
        trace = next(trace for trace in Recording.open(part).traces() if trace.error is None)
        author = trace.responses[0].author
        marks.append(
            Mark(
                time=f"2026-11-25T10:0{minute}:00Z",
                prompt_id=trace.prompt_id,
                author=author,
                start=place,
                end=place + 1,
                verdict="fine",
            )
        )
        MarkBook(part).add(marks[-1])
    merge_runs(parts, tmp_path / "merged")
    lines = (tmp_path / "merged" / "traces.jsonl").read_bytes().splitlines()
    expected = [line for part in parts for line in (part / "traces.jsonl").read_bytes().splitlines()]
    assert sorted(lines) == sorted(expected)
    ids = [json.loads(line)["prompt_id"] for line in lines]
    assert list(dict.fromkeys(ids)) == [prompt.id for prompt in PROMPTS]
    assert MarkBook(tmp_path / "merged").marks == sorted(marks, key=lambda mark: mark.time)


def test_runs_of_other_prompts_are_merged_in_the_order_given(tmp_path: Path) -> None:
    first = record(tmp_path / "first", RUN, TRACES[5:], facts=FACTS[:2])
    second = record(tmp_path / "second", RUN, TRACES[:5])
    merge_runs([first, second], tmp_path / "merged")
    found = [trace.prompt_id for trace in Recording.open(tmp_path / "merged").traces()]
    assert found == [trace.prompt_id for trace in [*TRACES[5:], *TRACES[:5]]]
    assert read_probes(tmp_path / "merged") == FACTS[:2]


OTHERS = {
    "max-new-tokens": replace(RUN, decoding=Decoding(max_new_tokens=7)),
    "threshold": replace(RUN, thresholds=Thresholds(unshifted=1, marginal=5)),
    "weights of full": replace(
        RUN,
        models=[replace(model, weights="sha256:0" if model.name == "full" else model.weights) for model in RUN.models],
    ),
    "models": build_run(("lora",)),
    "chunk": replace(RUN, engine=replace(RUN.engine, chunk=8)),
    "context": replace(RUN, context=replace(RUN.context, system="Be short.")),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_runs_that_differ_are_not_mixed(tmp_path: Path, difference: str) -> None:
    first = record(tmp_path / "first", RUN, TRACES[:2])
    other = OTHERS[difference]
    kept = [trace for trace in TRACES[2:] if trace.error is None][:1] if difference != "models" else []
    second = record(tmp_path / "second", other, kept)
    for folders in ([first, second], [second, first]):
        with pytest.raises(RunError, match=difference.split(maxsplit=1)[0]):
            merge_runs(folders, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def spoil(case: str, tmp_path: Path) -> tuple[list[Path], str]:
    parts = record_shards(tmp_path / "parts", 2)
    whole = record(tmp_path / "parts" / "whole", RUN, [])
    traces = parts[1] / "traces.jsonl"
    lines = traces.read_bytes().splitlines(keepends=True)
    match case:
        case "missing":
            return [*record_shards(tmp_path / "three", 3)[:2]], "shard 3 is missing"
        case "twice":
            copy = record(tmp_path / "copy", shard(2, 2), [])
            return [*parts, copy], "twice"
        case "other list":
            other = [*PROMPTS[:-1], Prompt(id="new", prompt="new")]
            return [parts[0], record(tmp_path / "other", shard(2, 2, other), [])], "not shards of one list"
        case "mixed":
            return [parts[0], whole], "not shards of one list"
        case "short":
            traces.write_bytes(b"".join(lines[:-1]))
            return parts, "3 of its 4 prompts"
        case "torn":
            traces.write_bytes(b"".join(lines)[:-20])
            return parts, "ends within a line"
        case "broken":
            traces.write_bytes(b"".join([lines[0], b"{}\n", *lines[1:]]))
            return parts, r"traces\.jsonl, line 2"
        case "swapped":
            traces.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
            return parts, "not those of the list"
        case "facts":
            (parts[1] / "facts.jsonl").unlink()
            return parts, "lack facts"
        case "same prompt":
            return [record(tmp_path / name, RUN, TRACES[:2]) for name in ("a", "b")], "both have the prompt"
        case "one fact":
            other = replace(FACTS[0], models=FACTS[1].models)
            return [
                record(tmp_path / "a", RUN, TRACES[:1], facts=FACTS[:1]),
                record(tmp_path / "b", RUN, TRACES[1:2], facts=[other]),
            ], "different things of the fact"
        case _:
            return [whole, tmp_path / "nowhere"], "no folder"


@pytest.mark.parametrize(
    "case",
    ["missing", "twice", "other list", "mixed", "short", "torn", "broken", "swapped", "facts", "same prompt",
     "one fact", "nowhere"],
)  # fmt: skip
def test_what_is_not_whole_is_refused_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    folders, reason = spoil(case, tmp_path)
    with pytest.raises(RunError, match=reason):
        merge_runs(folders, tmp_path / "out" / "merged")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_run_that_is_being_written_is_refused(tmp_path: Path) -> None:
    parts = record_shards(tmp_path, 2)
    lock = FolderLock(parts[1])
    with pytest.raises(RunError, match="is being recorded"):
        merge_runs(parts, tmp_path / "merged")
    lock.release()
    merge_runs(parts, tmp_path / "merged")


def test_the_target_is_new_or_empty(tmp_path: Path, whole: Path) -> None:
    parts = record_shards(tmp_path, 2)
    with pytest.raises(RunError, match="is there already"):
        merge_runs(parts, parts[0])
    with pytest.raises(UsageError):
        merge_runs([parts[0]], tmp_path / "merged")
    with pytest.raises(UsageError):
        merge_runs([parts[0], parts[0]], tmp_path / "merged")
    (tmp_path / "merged").mkdir()
    merge_runs(parts, tmp_path / "merged")
    assert read_all(tmp_path / "merged") == read_all(whole)


def test_a_shard_goes_on_as_itself_only(tmp_path: Path) -> None:
    parts = record_shards(tmp_path, 2)
    for other in (shard(2, 2), shard(1, 3), RUN, shard(1, 2, [*PROMPTS[:-1], Prompt(id="x", prompt="x")])):
        with pytest.raises(RunError, match=r"the shard was|the list of prompts"):
            Recorder.resume(parts[0], other)
    Recorder.resume(parts[0], shard(1, 2)).close()


def test_versions_that_differ_are_said(tmp_path: Path) -> None:
    runs = [replace(shard(number, 2), versions={"torch": f"2.{number}"}) for number in (1, 2)]
    parts = [record(tmp_path / f"{number}", run, deal(TRACES, number, 2)) for number, run in enumerate(runs, 1)]
    merged = merge_runs(parts, tmp_path / "merged")
    assert any("torch: 2.1, 2.2" in warning for warning in merged.warnings)


@pytest.mark.parametrize("numbers", [(0, 2, 5), (3, 2, 5), (1, 6, 5)])
def test_impossible_shards_are_refused(numbers: tuple[int, int, int]) -> None:
    number, count, prompts = numbers
    with pytest.raises((ValueError, ItxError)):
        Shard(number=number, count=count, prompts=prompts, list="sha256:0")
