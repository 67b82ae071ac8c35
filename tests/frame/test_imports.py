"""What each command loads, seen from outside in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.traces import build_run, build_traces, write_run

HEAVY = ("torch", "transformers", "peft", "llama_cpp", "textual", "numpy", "rich", "jinja2")

PROGRAM = """
import sys
from itx.cli.main import app
sys.argv = ["itx", *{words!r}]
try:
    app()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
loaded = sorted(name for name in {names!r} if name in sys.modules)
print("LOADED", *loaded)
"""


def loaded_by(words: list[str], names: tuple[str, ...]) -> list[str]:
    """Run ``itx WORDS`` in a fresh interpreter and return which of ``names`` it loaded."""
    program = PROGRAM.format(words=words, names=names)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.rsplit("LOADED", 1)[1].split()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["compare", "--help"], ["run", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded_by(words, HEAVY) == []


def test_the_check_sees_a_heavy_import() -> None:
    assert loaded_by(["--help"], ("typer", "itx.records")) == ["itx.records", "typer"]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    run = build_run()
    return write_run(tmp_path / "run", run, build_traces(run))


@pytest.mark.parametrize("words", [["open"], ["report"], ["report", "--json"]])
def test_reading_a_run_loads_no_engine(words: list[str], run_folder: Path) -> None:
    names = ("torch", "transformers", "peft", "llama_cpp", "itx.models")
    assert loaded_by([words[0], str(run_folder), *words[1:]], names) == []


def test_the_screen_itself_loads_no_engine() -> None:
    program = "import sys, itx.tui.app; print('LOADED', *[n for n in ('torch', 'transformers') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["LOADED"]


def test_the_package_itself_loads_nothing_and_its_names_nothing_heavy() -> None:
    names = ("msgspec", "typer", "numpy", "pyarrow", "torch", "textual")
    program = (
        "import sys, itx\n"
        f"names = {names!r}\n"
        "print(*[name for name in names if name in sys.modules])\n"
        "itx.run, itx.open_run\n"
        "print(*[name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert [line.split() for line in done.stdout.splitlines()] == [[], ["msgspec"]]
