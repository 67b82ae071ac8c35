"""itx: what tuning changed in a language model, token by token."""

from __future__ import annotations

__version__ = "0.1.0"
