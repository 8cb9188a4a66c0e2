"""Training: a forward and a backward pass of whole networks, timed in turns in a process of its own."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Rival:
    """The network that another one is compared with, and its seconds over the other's, at least."""

    name: str
    required: float


RIVALS = {
    "lif-soft": Rival("spikingjelly LIF", 1.0),
    "spiking-ssm": Rival("binary-s4d", 1 / 1.5),
    "binary-s4d": Rival("plain S4D", 1 / 0.75),
}


def measured(turns: int) -> dict[str, Any]:
    """Return the median seconds per pass of each network, and its rival's seconds over them, by turn."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.training_job", str(turns)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return summary(json.loads(done.stdout.splitlines()[-1]))


def summary(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return the median of each network's seconds, with its ratios.

    >>> summary({"lif-soft": [1.0, 2.0, 1.0], "spikingjelly LIF": [2.0, 6.0, 4.0]})["lif-soft"]
    {'seconds': 1.0, 'ratio': 3.0, 'ratios': [2.0, 3.0, 4.0]}
    """
    found: dict[str, Any] = {name: {"seconds": statistics.median(times)} for name, times in seconds.items()}
    for name, rival in RIVALS.items():
        if name in seconds and rival.name in seconds:
            ratios = [slow / fast for slow, fast in zip(seconds[rival.name], seconds[name], strict=True)]
            found[name] |= {"ratio": statistics.median(ratios), "ratios": ratios}
    return found
