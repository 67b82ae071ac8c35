"""What holds for every test: how long one takes depends on the machine, and is no failure.

Tests run in three processes (``-n 3``; some wait), so each computes with one thread; those of a file stay together
and share what it loads. On a CI the examples of hypothesis are the same each time; by hand they differ.

Some commands take as many threads as there are cores. Where three processes do so, OpenMP's threads spend their time
waiting for each other at full speed: here they sleep while they wait, and each test begins with one thread.
"""

from __future__ import annotations

import os
import sys

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
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Begin with one thread where a test before this one took more."""
    torch = sys.modules.get("torch")
    if torch is not None and "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, the tests of large weights and then of small ones: none is left alone at the end.

    The workers keep to this order (``--no-loadscope-reorder``); their own begins with the files of the most tests.
    """
    items.sort(
        key=lambda item: 0 if item.get_closest_marker("real") else 1 if item.get_closest_marker("weights") else 2
    )
