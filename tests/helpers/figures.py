"""Figures that a test found, printed at the end of the run even if it failed."""

from __future__ import annotations

from collections.abc import Callable

Figures = Callable[[str], None]
KEY = "figures"
