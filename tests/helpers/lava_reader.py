"""The oracle's own reader of model files, alone, because the package around it needs Lava."""

from __future__ import annotations

import importlib.util
from typing import Any

from shared import ROOT

FILE = ROOT / "nmdeploy" / "lava" / "model_file.py"


def lava_reader() -> Any:
    """Return the module."""
    spec = importlib.util.spec_from_file_location("model_file", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
