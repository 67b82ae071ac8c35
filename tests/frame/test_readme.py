"""What README says of the keys is what the registry says."""

from __future__ import annotations

from pathlib import Path

from itx.tui.actions import write_table

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_keys_is_the_registrys() -> None:
    assert "\n".join(write_table()) in README


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "<!--" not in README


def test_every_file_that_it_links_to_is_there() -> None:
    import re

    root = Path(__file__).parents[2]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (root / link).exists()] == []
