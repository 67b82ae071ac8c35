"""The version of itx, which every run names."""

from __future__ import annotations

VERSION = "0.1.0"
