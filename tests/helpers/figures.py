"""Figures that a test found, printed at the end of the run whether it passed or not."""

from __future__ import annotations

from collections.abc import Callable

Figures = Callable[[str], None]
KEY = "figures"
