"""Text plots: shape, scale and width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itx.report.curve import bin_columns, plot_text, sparkline

VALUES = st.lists(st.floats(0, 1e6, allow_nan=False), max_size=400)


def test_sparkline_by_hand() -> None:
    assert sparkline([0, 7, 3.5, 1], 10) == "▁█▅▂"
    assert sparkline([0, 7, 3.5, 1], 10, ascii_only=True) == "_#=."
    assert sparkline([], 10) == ""
    assert sparkline([0.0, 0.0], 10) == "▁▁"
    assert sparkline([1.0], 0) == ""
    # Ten values in five columns: a column shows its largest, so that no spike is lost.
    assert sparkline([0, 0, 0, 8, 0, 0, 0, 0, 0, 0], 5) == "▁█▁▁▁"


@given(size=st.integers(0, 500), width=st.integers(0, 200))
def test_columns_cover_all_values_once(size: int, width: int) -> None:
    columns = bin_columns([0.0] * size, width)
    assert len(columns) == min(size, width)
    assert all(start < end for start, end in columns)
    if columns:
        assert [place for start, end in columns for place in range(start, end)] == list(range(size))


@given(values=VALUES, width=st.integers(0, 120), ascii_only=st.booleans())
def test_sparkline_fits_and_shows_the_peak(values: list[float], width: int, ascii_only: bool) -> None:
    line = sparkline(values, width, ascii_only)
    assert len(line) == min(len(values), width)
    assert line.isascii() or not ascii_only
    if line and max(values) > 0:
        start, end = bin_columns(values, width)[line.index("#" if ascii_only else "█")]
        assert max(values[start:end]) >= max(values) * 0.92


def test_plot_by_hand() -> None:
    assert plot_text([0, 4, 1, 2], 20, 4) == [
        "4.00 │ █",
        "     │ █",
        "2.00 │ █ █",
        "     │ ███",
        "   0 └────",
        "      0  3",
    ]
    assert plot_text([0, 4, 1, 2], 20, 2, ascii_only=True) == ["4.00 | #", "     | ###", "   0 +----", "      0  3"]
    assert plot_text([], 20, 4) == []
    assert plot_text([1.0], 3, 4) == []


@given(values=VALUES, width=st.integers(0, 100), height=st.integers(0, 12), ascii_only=st.booleans())
def test_plot_fits(values: list[float], width: int, height: int, ascii_only: bool) -> None:
    lines = plot_text(values, width, height, ascii_only)
    assert all(len(line) <= width for line in lines)
    assert not ascii_only or all(line.isascii() for line in lines)
    if lines and max(values) > 0:
        assert ("#" if ascii_only else "█") in lines[0]


@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_is_not_zero_is_seen(ascii_only: bool) -> None:
    lines = plot_text([1000.0, 0.1, 0.0], 30, 4, ascii_only)
    bottom = lines[3].split("|" if ascii_only else "│")[1]
    assert len(bottom) == 2
