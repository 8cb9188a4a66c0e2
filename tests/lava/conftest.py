"""Lava tests need Lava."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from requires_lava import require_lava

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def lava() -> None:
    require_lava()
