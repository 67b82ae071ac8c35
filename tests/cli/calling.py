"""Call the command line in this process, as a shell would."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from itx.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> Outcome:
    """Run ``itx WORDS`` and return its outcome; standard output is no terminal."""
    monkeypatch.setattr(sys, "argv", ["itx", *map(str, words)])
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main()
    out, err = capfd.readouterr()
    code = leaving.value.code
    return Outcome(code if isinstance(code, int) else 0 if code is None else 1, out, err)
