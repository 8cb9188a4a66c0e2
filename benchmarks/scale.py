"""Every stage of a user's chain at the sizes of the literature: ``python -m benchmarks.scale [--rows ROW ...]``.

Each stage is a process of its own; its seconds and the most memory of that process count. A row that has been measured
is kept in `build/scale/results.json`, and is not measured again: the command can be stopped and continued. `--docs`
writes what has been measured to docs/scale.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import calibration
from benchmarks.pages import Table, draw, fill, markdown, printed_by
from benchmarks.results import load_now
from benchmarks.startup import PEAK
from nmdeploy import pipeline
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.synapses.dense import Dense

ROOT = Path(__file__).parent.parent
PAGE, MARKER = ROOT / "docs" / "scale.md", "scale"
PROFILE, CORES_PER_TILE = "large.toml", 4
CALIBRATION_SAMPLES, INPUT_RATE, LIF_RATE = 128, 0.3, 0.05
LAVA_SECONDS_PER_VALUE, LAVA_SECONDS = 24e-6, 600
STAGE_SECONDS = 1800
COMMAND = "python -m benchmarks.scale"


@dataclass(frozen=True)
class Row:
    """A network: how it is made, its channels, the steps of a sample, and the values that a trace of a step holds.

    `tiles` are the columns and rows of a mesh of tiles in which it fits, if it does not fit into Loihi 2's.
    """

    make: Callable[[], Network]
    channels: int
    steps: int
    traced: int
    tiles: tuple[int, int] | None = None


def _state_space(layers: int, neurons: int, states: int) -> Row:
    traced = layers * neurons * (2 * states + 2)
    return Row(lambda: calibration.network(layers, neurons, states), calibration.CHANNELS, 1024, traced)


def _lif(*sizes: int, tiles: tuple[int, int] | None = None) -> Row:
    return Row(lambda: lif(sizes), sizes[0], 100, 3 * sum(sizes[1:]), tiles)


def lif(sizes: Sequence[int]) -> Network:
    """Return layers of LIF neurons of these sizes, the first of which is the input's."""
    rng, rate = np.random.default_rng(0), INPUT_RATE
    nodes: dict[str, Any] = {"input": Input((sizes[0],))}
    edges, before = [], "input"
    for layer, (inputs, size) in enumerate(itertools.pairwise(sizes)):
        names = f"fc{layer}", f"layer{layer}"
        # Sums whose spread is a fraction of the threshold: a few steps in a hundred send a spike.
        nodes[names[0]] = Dense(rng.normal(0.0, 0.45 / np.sqrt(inputs * rate), (size, inputs)))
        nodes[names[1]] = LIF(np.zeros(size), np.full(size, 0.9), np.ones(size))
        edges += [Edge(before, names[0]), Edge(*names)]
        before, rate = names[1], LIF_RATE
    return Network(nodes, tuple(edges), 1e-3, before)


ROWS = {
    "state-space 3x64x8": _state_space(3, 64, 8),
    "state-space 4x128x16": _state_space(4, 128, 16),
    "state-space 6x256x32": _state_space(6, 256, 32),
    "state-space 6x512x64": _state_space(6, 512, 64),
    "LIF 1,000": _lif(100, 1000, 10),
    "LIF 10,000": _lif(100, 10_000, 10),
    "LIF 100,000 wide": _lif(100, 100_000, 10),
    "LIF 100,000 deep": _lif(*[100] * 1001, tiles=(20, 16)),
}


def stages(row: Row, folder: Path) -> dict[str, list[str]]:
    """Return the arguments of each stage, in the order in which they run."""
    net, model, one = folder / "net.safetensors", folder / "model.nir", folder / "one.npy"
    profile = ["--profile", folder / PROFILE] if row.tiles else []
    data = {samples: folder / f"{samples}.npy" for samples in (32, 1000)}
    found = {
        "check": ["check", net, "--data", folder / "calibration.npy", *profile],
        "export": ["export", net, "--data", folder / "calibration.npy", "-o", model, *profile],
        "warmup, cold": ["warmup", model],
        "warmup, warm": ["warmup", model],
        "simulate 1": ["simulate", model, "--data", one, "-o", folder / "one.h5"],
        "simulate 32": ["simulate", model, "--data", data[32], "-o", folder / "many.h5"],
        "simulate 1,000": ["simulate", model, "--data", data[1000], "-o", folder / "all.h5"],
        "trace 1": ["simulate", model, "--data", one, "--trace", "states", "-o", folder / "trace.h5"],
        "verify 1, compiled": ["verify", model, "--data", one, "--against", "compiled"],
    }
    if row.traced * row.steps * LAVA_SECONDS_PER_VALUE < LAVA_SECONDS:
        found["verify 1, Lava"] = ["verify", model, "--data", one]
    found["report"] = ["report", model, "--data", data[32], "-o", folder / "report.json", *profile]
    found["inspect"] = ["inspect", model]
    return {name: [str(part) for part in arguments] for name, arguments in found.items()}


def profile_of(columns: int, rows: int) -> str:
    """Return the profile of Loihi 2 with a mesh of so many tiles, all of whose cores can be used."""
    text = (ROOT / "hw_profiles" / "loihi2.toml").read_text("utf-8")
    cores = columns * rows * CORES_PER_TILE
    for key, value in {"cores": cores, "usable_cores": cores, "columns": columns, "rows": rows}.items():
        text, found = re.subn(rf"(?m)^{key} = {{ value = \d+", f"{key} = {{ value = {value}", text)
        assert found == 1, key
    return text


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Return seconds, megabytes (10^6 bytes) and exit code of each stage of a row."""
    row, rng = ROWS[name], np.random.default_rng(1)
    folder.mkdir(parents=True, exist_ok=True)
    pipeline.save(row.make(), folder / "net.safetensors")
    if row.tiles:
        (folder / PROFILE).write_text(profile_of(*row.tiles), "utf-8")
    for file, samples in (("calibration", CALIBRATION_SAMPLES), ("1000", 1000), ("32", 32), ("one", 1)):
        codes = (rng.random((samples, row.steps, row.channels), np.float32) < INPUT_RATE).astype(np.uint8)
        np.save(folder / f"{file}.npy", codes)
    environment = {**os.environ, "NMDEPLOY_CACHE": str(folder / "cache")}
    found = {}
    for stage, arguments in stages(row, folder).items():
        found[stage] = _run(arguments, environment)
        print(f"{name}, {stage}: {_words(found[stage])}", file=sys.stderr, flush=True)
    return found


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=STAGE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"seconds": float(STAGE_SECONDS), "megabytes": 0.0, "code": -1}
    *said, peak = done.stderr.splitlines() or ["0"]  # a process that was killed says nothing
    result = {"seconds": time.perf_counter() - start, "megabytes": int(peak) * 1024 / 1e6, "code": done.returncode}
    return result if done.returncode == 0 else {**result, "said": said[-1:]}


def _words(found: Mapping[str, Any]) -> str:
    if found["code"] == -1:
        return f"over {STAGE_SECONDS} s"
    text = f"{found['seconds']:.3g} s, {found['megabytes']:,.0f} MB"
    return text if found["code"] == 0 else f"exit code {found['code']} after {text}"


def table(results: Mapping[str, Any]) -> Table:
    """Return stages by networks: seconds, and the most memory."""
    names = [name for name in ROWS if name in results]
    order = dict.fromkeys(stage for name in names for stage in results[name])
    rows = [(stage, *(_words(results[n][stage]) if stage in results[n] else "-" for n in names)) for stage in order]
    return Table("seconds and most memory of each stage, a process each", ("stage", *names), rows)


def main() -> int:
    """Measure the rows that are missing, print the table, and write the page if asked to."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="Networks to measure.")
    parser.add_argument("--again", action="store_true", help="Measure rows that have been measured, too.")
    parser.add_argument("--docs", action="store_true", help="Write what has been measured to docs/scale.md.")
    parser.add_argument("--out", type=Path, default=Path("build/scale"), help="Folder of models and results.")
    chosen = parser.parse_args()
    load, path = load_now(), chosen.out / "results.json"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for name in chosen.rows:
        if name not in results or chosen.again:
            results[name] = measure(name, chosen.out / name.replace(" ", "-"))
            path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    draw([table(results)])
    if chosen.docs:
        said = printed_by(f"{COMMAND} --docs", ("numpy", "llvmlite"), load)
        fill(PAGE, MARKER, f"{said}\n\n{markdown(table(results))}")
    return 0 if all(each["code"] == 0 for row in results.values() for each in row.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
