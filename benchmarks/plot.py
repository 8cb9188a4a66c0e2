"""Plots of the results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import fastest_peer

LEGEND_ROOM = 20
BACKENDS = ("bound", "compiled", "reference", "lava")


def draw(content: Mapping[str, Any], folder: Path) -> None:
    """Write results.png and results.svg: milliseconds per sample, and growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5), layout="constrained")
    bars(left, content["measured"])
    curves(right, content["measured"].get("exponent", {}))
    for ending in ("png", "svg"):
        figure.savefig(folder / f"results.{ending}", dpi=120)
    pyplot.close(figure)


def bars(axes: Any, measured: Mapping[str, Any]) -> None:
    """Draw the seconds per sample of every backend on every network."""
    workloads = list(measured.get("compiled", {}))
    series = {name: {key: value.get("seconds") for key, value in measured.get(name, {}).items()} for name in BACKENDS}
    peers = measured.get("peers", {})
    series["fastest float library"] = {
        name: found[best]["seconds"] for name, found in peers.items() if (best := fastest_peer(found))
    }
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        known = [(place, values[key]) for place, key in enumerate(workloads) if values.get(key)]
        axes.bar([place + index * width for place, _ in known], [1e3 * s for _, s in known], width, label=name)
    axes.set_xticks([place + 0.32 for place in range(len(workloads))], workloads, rotation=15)
    axes.set(yscale="log", ylabel="ms per sample", title="784 steps, 4 layers")
    axes.set_ylim(top=axes.get_ylim()[1] * LEGEND_ROOM)
    axes.legend(loc="upper center", ncols=3, fontsize="small")


def curves(axes: Any, sweeps: Mapping[str, Any]) -> None:
    """Draw seconds against size, both relative to the first point."""
    for name, found in sweeps.items():
        x, seconds = found["x"], found["seconds"]
        label = f"{name}: exponent {found['exponent']:.2f}"
        axes.plot([value / x[0] for value in x], [value / seconds[0] for value in seconds], "o-", label=label)
    axes.set(xscale="log", yscale="log", xlabel="size, first point = 1", ylabel="time, first point = 1")
    axes.set_title("growth of compiled")
    if sweeps:
        axes.legend()
