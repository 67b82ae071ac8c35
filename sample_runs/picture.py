"""Draw what ``itx open RUN`` shows as an SVG file, after a few keys: the pictures of the README.

python sample_runs/picture.py RUN OUT.svg [--size 120x40] [KEY ...]
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from itx.runs.recording import Recording
from itx.tui.app import CompareApp
from itx.tui.session import RecordedSession


async def draw(run: Path, size: tuple[int, int], keys: list[str]) -> str:
    """Return the screen as SVG once the keys are pressed."""
    app = CompareApp(RecordedSession(Recording.open(run)))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        while isinstance(app.session, RecordedSession) and not app.session.complete:
            await pilot.pause(0.05)
        await pilot.press(*keys)
        await pilot.pause(0.2)
        return app.export_screenshot(title="itx open " + run.name)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("keys", nargs="*", help="Textual's names of keys: n, J, greater_than_sign")
    parser.add_argument("--size", default="120x40")
    asked = parser.parse_args()
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
    width, height = (int(part) for part in asked.size.split("x"))
    svg = asyncio.run(draw(asked.run, (width, height), asked.keys))
    asked.out.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
