"""Time and memory of a trace of all states: ``python -m benchmarks.run --only "all states"``.

One sample of 1,024 steps through a state-space model of 6 layers, 512 channels and 64 complex states. `simulate` writes
all of its states, and `verify` compares them with the reference.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks import networks
from benchmarks.startup import NMDEPLOY, STATUS, peak_megabytes, timed
from nmdeploy import pipeline

LAYERS, CHANNELS, STATES, STEPS = 6, 512, 64, 1024


def measure(runs: int, layers: int = LAYERS, channels: int = CHANNELS, states: int = STATES) -> dict[str, Any]:
    """Measure the whole process of each command, and the bytes of a stored real state and step, before compression."""
    with tempfile.TemporaryDirectory() as name:
        model, data, output = (str(Path(name) / file) for file in ("model.nir", "sample.npy", "recording.h5"))
        pipeline.write(networks.state_space(channels, states, "per-product", layers), model)
        np.save(data, networks.inputs(1, channels, STEPS))
        commands = {
            "simulate": ["simulate", model, "--data", data, "--trace", "states", "-o", output],
            "verify": ["verify", model, "--data", data, "--against", "compiled"],
        }
        found: dict[str, Any] = {
            key: {"seconds": timed([*NMDEPLOY, *command], runs)[0]} for key, command in commands.items()
        }
        if STATUS.exists():
            for key, command in commands.items():
                found[key]["megabytes"] = peak_megabytes(command)
        return found | {"bytes": bytes_per_state(output)}


def bytes_per_state(path: str) -> dict[str, float]:
    """Return the bytes per real state and step of the registers `re` and `im`, before compression and in the file."""
    with h5py.File(path) as file:
        stored = [group["states"][state] for group in file["layers"].values() for state in ("re", "im")]
        codes = sum(each.size // (3 if each.attrs.get("bits") == 24 else 1) for each in stored)
        return {
            "before compression": sum(each.nbytes for each in stored) / codes,
            "in the file": Path(path).stat().st_size / codes,
        }


def told(found: dict[str, Any]) -> str:
    """Return the measurements in words."""
    parts = [
        f"{key} {found[key]['seconds']:.1f} s"
        + (f" and {found[key]['megabytes']:.0f} MB" if "megabytes" in found[key] else "")
        for key in ("simulate", "verify")
    ]
    return ", ".join([*parts, *(f"{value:.2f} bytes per state {where}" for where, value in found["bytes"].items())])
