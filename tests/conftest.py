"""What holds for every test: how long one takes depends on the machine, and is no failure.

Tests run in three processes (``-n 3``; some wait), so each computes with one thread; those of a file stay together
and share what it loads. On a CI the examples of hypothesis are the same each time; by hand they
differ.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "itx",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("itx")

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of the large weights: they take longest."""
    items.sort(key=lambda item: item.get_closest_marker("real") is None)
