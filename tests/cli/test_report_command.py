"""``itx report`` and ``itx claims`` from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from itx.data.contents import hash_files
from itx.records import DataReference
from tests.cli.calling import Outcome, call
from tests.support.traces import RESPONSES, build_run, build_traces, write_run

Caller = Callable[..., Outcome]
HOSTILE = "</text>\x1b[2J<script>\u202e"


def silent(doing: str, fraction: float) -> None:
    pass


def write_rows(path: Path) -> Path:
    rows = [{"instruction": f"ask {number}", "output": text} for number, text in enumerate(RESPONSES)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def itx(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caller:
    return lambda *words: call(capfd, monkeypatch, *words)


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    """A run that names its tuning data, which lies beside it."""
    folder = tmp_path / "traced"
    run = build_run(("full", "lora"))
    write_run(folder, run, build_traces(run, 16))
    data = write_rows(folder / "rows.jsonl")
    fingerprint = hash_files([data], tmp_path / "cache", silent)
    reference = DataReference(reference="rows.jsonl", fingerprint=fingerprint, rows=len(RESPONSES))
    (folder / "run.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(run, data=reference)))
    return folder


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_both_fit_the_terminal(itx: Caller, recorded: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ("report", "claims"):
        done = itx(command, recorded)
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= columns
        assert "LoRA (paper: LFT)" in done.out or command == "claims"


def test_json_keeps_the_contract_and_has_the_rest(itx: Caller, recorded: Path) -> None:
    printed = json.loads(itx("report", recorded, "--json").out)
    for figures in printed["models"].values():
        assert {"positions", "unshifted", "marginal", "shifted", "kl_mean"} <= figures.keys()
    pairs = {(pair["author"], pair["scorer"]): pair for pair in printed["study"]["pairs"]}
    for name, figures in printed["models"].items():
        if name != "base":
            assert pairs[name, "base"]["overall"]["shifted"]["value"] == pytest.approx(figures["shifted"])
            assert pairs[name, "base"]["overall"]["kl"]["count"] == figures["positions"]
    claims = json.loads(itx("claims", recorded, "--json").out)
    assert {claim["verdict"] for claim in claims["claims"]} <= {"holds", "does not hold", "not enough data"}
    assert all(claim["margin"] > 0 and claim["reason"] for claim in claims["claims"])


def test_the_markdown_shows_curves_that_lie_beside_it(itx: Caller, recorded: Path, tmp_path: Path) -> None:
    written = tmp_path / "my report.md"
    assert itx("report", recorded, "-o", written).out == ""
    text = written.read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert "my%20report-kl-full-base.svg" in shown
    assert {name.replace("%20", " ") for name in shown} == {path.name for path in tmp_path.glob("*.svg")}
    for path in tmp_path.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert {element.tag.split("}")[1] for element in root.iter()} <= {
            "svg",
            "title",
            "rect",
            "text",
            "path",
            "polyline",
            "circle",
        }


def test_a_curve_has_every_position(itx: Caller, recorded: Path, tmp_path: Path) -> None:
    itx("report", recorded, "-o", tmp_path / "r.md")
    study = json.loads(itx("report", recorded, "--json").out)["study"]
    means = next(pair for pair in study["pairs"] if (pair["author"], pair["scorer"]) == ("full", "base"))["curve"]
    drawn = ElementTree.parse(tmp_path / "r-kl-full-base.svg").getroot()
    [line] = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == len(means["kl_mean"])
    # The largest is at the top (small y), and heights are in proportion.
    heights = [212 - y for _, y in points]
    top = max(means["kl_mean"])
    assert heights == pytest.approx([180 * value / top for value in means["kl_mean"]], abs=0.06)


def test_a_strangers_names_do_no_harm(itx: Caller, tmp_path: Path) -> None:
    run = build_run((HOSTILE,))
    folder = write_run(tmp_path / "run", run, build_traces(run, 3))
    for command in ("report", "claims"):
        done = itx(command, folder)
        assert done.code == 0
        assert "\x1b" not in done.out and "\u202e" not in done.out
    assert itx("report", folder, "-o", tmp_path / "r.md").code == 0
    pictures = list(tmp_path.glob("*.svg"))
    assert pictures
    for path in pictures:
        assert not any(element.tag.endswith("script") for element in ElementTree.parse(path).getroot().iter())
        assert "\x1b" not in path.read_text(encoding="utf-8")


def test_the_tuning_data_is_read_where_it_is_the_runs(itx: Caller, traced: Path, tmp_path: Path) -> None:
    patterns = json.loads(itx("report", traced, "--json").out)["study"]["patterns"]
    assert patterns["missing"] is None
    assert patterns["data"]["rows"] == len(RESPONSES)
    assert patterns["data"]["words"]["mean"] == pytest.approx(
        sum(len(text.split()) for text in RESPONSES) / len(RESPONSES)
    )
    # What the models say are the rows themselves, except where a response was cut or empty.
    assert patterns["models"]["base"]["opening_copied"]["value"] == 1
    moved = (traced / "rows.jsonl").rename(tmp_path / "elsewhere.jsonl")
    left_out = itx("report", traced)
    assert left_out.code == 0
    assert "--data DATA" in left_out.out
    named = json.loads(itx("report", traced, "--json", "--data", moved).out)["study"]["patterns"]
    assert named == patterns
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"instruction": "a", "output": "b"}) + "\n")
    refused = itx("report", traced, "--data", other)
    assert refused.code == 2
    assert "not what the run was traced in" in refused.err
    (traced / "rows.jsonl").write_text(other.read_text())
    assert "is not what the run was traced in" in " ".join(itx("report", traced).out.split())
    assert itx("report", traced, "--data", tmp_path / "none.jsonl").code == 2


def test_a_folder_that_only_the_run_names_is_not_read(itx: Caller, traced: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (traced / "rows.jsonl").rename(tmp_path / "folder" / "rows.jsonl")
    run = json.loads((traced / "run.json").read_bytes())
    run["data"]["reference"] = str(tmp_path / "folder")
    (traced / "run.json").write_text(json.dumps(run))
    assert json.loads(itx("report", traced, "--json").out)["study"]["patterns"]["data"] is None
    named = json.loads(itx("report", traced, "--json", "--data", tmp_path / "folder").out)["study"]["patterns"]
    assert named["data"]["rows"] == len(RESPONSES)


def test_own_word_lists(itx: Caller, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What --words sets is for a process, which here is the tests'.
    monkeypatch.setenv("ITX_WORDS", "")

    def count(*words: object) -> dict[str, int]:
        study = json.loads(itx("report", recorded, "--json", *words).out)["study"]
        return {bucket["label"]: bucket["shares"]["positions"] for bucket in study["pairs"][0]["by_category"]}

    plain = count()
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "style.txt").write_text("# mine\nbattle\ntips\nsleep every night\n")
    own = count("--words", lists)
    assert own["style"] > plain["style"]
    assert own["refusal"] == plain["refusal"]
    monkeypatch.setenv("ITX_WORDS", str(lists))
    assert count() == own
    (tmp_path / "style.txt").write_bytes(b"\xff\xfe")
    refused = itx("report", recorded, "--words", tmp_path)
    assert refused.code == 1
    assert "style.txt" in refused.err
    assert itx("report", recorded, "--words", tmp_path / "none").code == 2


def test_lengths_of_two_tunings(itx: Caller, recorded: Path, tmp_path: Path) -> None:
    for name, words in (("short", 4), ("long", 40)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"instruction": "a", "output": "word " * words}) + "\n")
    named = ("--tuned-on", f"full={tmp_path / 'long.jsonl'}", "--tuned-on", f"lora={tmp_path / 'short.jsonl'}")
    claims = json.loads(itx("claims", recorded, "--json", *named).out)["claims"]
    [claim] = [claim for claim in claims if "longer" in claim["statement"]]
    assert claim["models"] == ["full", "lora"]
    assert "tuned on 40 and 4 words" in claim["note"]
    assert itx("claims", recorded, "--tuned-on", "base=x").code == 2
    assert itx("claims", recorded, "--tuned-on", f"full={tmp_path / 'none.jsonl'}").code == 2
