"""One sample on all processors, against two samples at once: ``python -m benchmarks.run --only "one sample"``.

The gain of one sample is its time on one processor over its time on all. That of two samples is twice the time of one
on one processor over the time of both on all. Their ratio does not depend on what the processors share.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from benchmarks import networks
from benchmarks.timing import run, seconds_of
from nmdeploy.backends import compiled
from nmdeploy.engine.run.layer_pipeline import TRIALS

GAIN, NEVER_SLOWER = 0.85, 1 / 1.02
SHORT_STEPS, CALLS = 50, 20
SUBJECTS = {
    "one-lif": "LIF, 512 channels",
    "one-ss": "state-space, 128 channels, 16 states",
    "one-short": "LIF, 128 channels",
}


def measure(name: str, turns: int) -> dict[str, Any]:
    """Return the seconds of a sample on one processor and on all, of two samples, and the ratio that is required.

    It is the share of the gain of two samples; of a short sample, the gain itself.
    """
    short = name == "one-short"
    network = {"one-lif": lambda: networks.lif(512), "one-short": lambda: networks.lif(128)}.get(
        name, lambda: networks.state_space(128, 16, "per-product")
    )()
    codes = networks.inputs(2, network.input.size, SHORT_STEPS if short else networks.STEPS)
    one = codes[:1]
    calls = [partial(compiled.run, network, one, threads=1), partial(run, "compiled", network, one),
             partial(run, "compiled", network, codes)]  # fmt: skip
    for call in calls:
        for _ in range(2 * TRIALS + 3):  # the choice is made in the first ones
            call()
    found = [[min(seconds_of(call) for _ in range(CALLS)) for call in calls] for _ in range(turns)]
    ratios = [alone / shared if short else two / (2 * shared) for alone, shared, two in found]
    alone, shared, two = (statistics.median(times) for times in zip(*found, strict=True))
    gains = {"gain": alone / shared, "gain of two": 2 * alone / two}
    return {"alone": alone, "shared": shared, "two": two, **gains, "ratio": statistics.median(ratios), "ratios": ratios}
