"""A recording with arrays of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nmdeploy.recording.types import Layer, Recording

STEPS = 5


def recording(samples: int, values: list[int], spiking: bool = False) -> Recording:
    """Return a recording with arrays of every kind, of the given numbers."""

    def filled(*shape: int) -> Any:
        return np.resize(np.array(values, np.int64), (samples, *shape))

    layer = Layer(spikes=filled(STEPS, 4) > 0, states={"u": filled(STEPS, 4), "re": filled(STEPS, 4, 2)})
    graded = Layer(spikes=filled(STEPS, 3), counts={"spikes": filled()})
    return Recording(
        output=filled(STEPS, 3) > 0 if spiking else filled(STEPS, 3),
        spiking=spiking,
        layers={"b": replace(layer, counts={"spikes": filled(), "events_sent": filled()}), "a": graded},
        lengths=np.full(samples, STEPS),
        latency=3,
        backend="test",
        version="1",
        model_sha256="0" * 64,
    )
