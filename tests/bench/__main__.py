"""``python -m tests.bench [NAME…] [--repeats N] [--json FILE]``: measure every bar and say which are reached."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.arms import Bar, Measurement, MissingError, spread
from tests.bench.bars import BARS
from tests.bench.machine import Load, LoadMeter, as_json, cores, pinned_environment, read_facts

ROOT = Path(__file__).parents[2]
NOT_MEASURED = 3
"""A worker's exit code where something is missing."""


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def work(bar: Bar, repeats: int, target: Path) -> None:
    """Measure in this process and leave the samples in ``target``."""
    try:
        found = bar.measure(repeats)
    except MissingError as error:
        say(f"{bar.name}: not measured: {error}")
        sys.exit(NOT_MEASURED)
    target.write_text(json.dumps({"ours": found.ours, "floor": found.floor, "notes": found.notes}))


def measure(bar: Bar, repeats: int) -> tuple[Measurement, Load]:
    """Measure in a worker of its own, with its threads pinned. Raises CalledProcessError where the worker fails."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "samples.json"
        meter = LoadMeter()
        subprocess.run(
            [sys.executable, "-m", "tests.bench", bar.name, f"--repeats={repeats}", f"--worker={target}"],
            cwd=ROOT,
            env=pinned_environment(bar.threads or cores()),
            check=True,
        )
        return Measurement(**json.loads(target.read_text())), meter.read()


def describe(bar: Bar, found: Measurement, load: Load) -> tuple[str, dict[str, object]]:
    """Return the bar's lines for people and its record for programs; a verdict only where the machine was quiet."""
    median, low, high = spread(found.figures(bar.how))
    verdict = ("reached" if bar.reached(median) else "MISSED") if load.quiet else f"no verdict: {load}"
    lines = [
        f"{bar.name}: {bar.title}, against {bar.against}",
        f"  {median:.3g} {bar.unit} (range {low:.3g}–{high:.3g}, {len(found.ours)} repeats), "
        f"bound {bar.bound()}: {verdict}",
    ]
    ours = spread(found.ours)
    arms = f"  ours {ours[0]:.4g} ({ours[1]:.4g}–{ours[2]:.4g})"
    if found.floor:
        floor = spread(found.floor)
        arms += f", the other arm {floor[0]:.4g} ({floor[1]:.4g}–{floor[2]:.4g})"
    lines.append(f"{arms}; {load}")
    lines.extend(f"  {note}" for note in found.notes)
    record = {
        "name": bar.name,
        "median": median,
        "low": low,
        "high": high,
        "unit": bar.unit,
        "limit": bar.limit,
        "verdict": verdict,
        "ours": found.ours,
        "floor": found.floor,
        "notes": found.notes,
        "load": as_json(load),
    }
    return "\n".join(lines), record


def main() -> int:
    """Measure the bars named (all without a name); 0: none was missed, 1: some were, or a worker failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BARS)}")
    parser.add_argument("--repeats", type=int, default=5, help="at least 5 for a figure to be quoted")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write samples and facts there, too")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BARS))
    if unknown:
        parser.error(f"no bar is called {', '.join(unknown)}; there are {', '.join(BARS)}")
    if options.worker:
        work(BARS[options.names[0]], options.repeats, options.worker)
        return 0
    facts = read_facts()
    say("\n".join(facts.lines()))
    records = []
    failed = False
    for name in options.names or BARS:
        say()
        try:
            found, load = measure(BARS[name], options.repeats)
        except subprocess.CalledProcessError as error:
            if error.returncode == NOT_MEASURED:
                continue
            say(f"{name}: the worker failed with {error.returncode}, see above")
            failed = True
            continue
        text, record = describe(BARS[name], found, load)
        say(text)
        records.append(record)
        failed |= record["verdict"] == "MISSED"
    if options.json:
        options.json.write_text(json.dumps({"machine": as_json(facts), "bars": records}, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
