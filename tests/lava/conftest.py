"""Lava tests: skipped with the reason where Lava cannot be run, unless NMDEPLOY_REQUIRE_LAVA=1 demands it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nmdeploy.backends.lava_worker import available

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def lava() -> None:
    reason = available()
    if reason is None:
        return
    if os.environ.get("NMDEPLOY_REQUIRE_LAVA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
