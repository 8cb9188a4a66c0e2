"""Windowed populations from flat fields: those of the window, and those of its dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np

from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace, StateSpace
from nmdeploy.neurons.state_space.windowed import U_LIMIT, QuantizedWindowedStateSpace, WindowedStateSpace

WINDOW = ("window", "kernel", "frac_k", "vth", "send_once", "frac_u", "v_threshold")


def _apart(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    window = {name: value for name, value in fields.items() if name in WINDOW}
    return {name: value for name, value in fields.items() if name not in WINDOW}, window


def quantized_windowed(**fields: Any) -> QuantizedWindowedStateSpace:
    """An integer population; its dynamics' own threshold is out of reach."""
    dynamics, window = _apart(fields)
    dynamics = {"bias": 0, "vth": np.array(U_LIMIT)} | dynamics
    return QuantizedWindowedStateSpace(dynamics=QuantizedStateSpace(**dynamics), **window)


def windowed_of(**fields: Any) -> WindowedStateSpace:
    """A float population."""
    dynamics, window = _apart(fields)
    return WindowedStateSpace(dynamics=StateSpace(**dynamics, v_threshold=np.zeros(())), **window)
