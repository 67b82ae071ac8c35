"""The screen that tests look at draws what a terminal would."""

from __future__ import annotations

import itertools
import sys

from hypothesis import given
from hypothesis import strategies as st

from tests.support.terminal import Screen, Terminal


def test_moves_erasing_and_wide_characters() -> None:
    screen = Screen(3, 10)
    screen.feed(b"\x1b[?1049h\x1b[2Jone\r\ntwo\x1b[1;5H\x1b[1;31mred\x1b[0m\x1b[3;1H\xe6\x9d\xb1x\x1b[2;2H\x1b[K")
    assert screen.lines == ["one red   ", "t         ", "東x       "]
    screen.feed(b"\x1b]0;a title\x07\x1b]52;c;YQ==\x1b\\\x1b[2;1H!\x1b[1J")
    assert screen.text == "\n\n東x"


@given(st.lists(st.integers(1, 60), max_size=8))
def test_bytes_may_come_in_any_pieces(cuts: list[int]) -> None:
    data = "\x1b[2J\x1b[1;1H東京\x1b[38;2;1;2;3mé🌸\x1b]0;t\x1b\\\x1b[2;3Hend\x1b[?25l".encode()
    whole, pieces = Screen(2, 20), Screen(2, 20)
    whole.feed(data)
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    for start, stop in itertools.pairwise(places):
        pieces.feed(data[start:stop])
    assert pieces.lines == whole.lines
    assert whole.text == "東京é🌸\n  end"


def test_a_process_has_the_terminal_and_its_size() -> None:
    program = (
        "import os, sys; print(os.get_terminal_size(), sys.stdin.isatty()); print('<' + input() + '>'); sys.exit(3)"
    )
    with Terminal([sys.executable, "-c", program], rows=30, columns=77) as terminal:
        terminal.wait(lambda screen: "columns=77, lines=30) True" in screen.text)
        terminal.send("typed\n")
        terminal.wait(lambda screen: "<typed>" in screen.text)
        assert terminal.finish() == 3


def test_control_c_reaches_the_process() -> None:
    lines = ["import signal", "try:", " print('ready', flush=True); signal.pause()", "except KeyboardInterrupt:"]
    program = "\n".join([*lines, " print('stopped')"])
    with Terminal([sys.executable, "-c", program]) as terminal:
        terminal.wait(lambda screen: "ready" in screen.text)
        terminal.send("\x03")
        terminal.wait(lambda screen: "stopped" in screen.text)
        assert terminal.finish() == 0
