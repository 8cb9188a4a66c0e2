"""Lava tests, which are skipped with the reason if Lava cannot run, or fail if NMDEPLOY_REQUIRE_LAVA=1."""

from __future__ import annotations

import os

import pytest

from nmdeploy.backends._lava_worker import available


def require_lava() -> None:
    """Skip or fail unless Lava can run."""
    reason = available()
    if reason is not None and os.environ.get("NMDEPLOY_REQUIRE_LAVA") == "1":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
