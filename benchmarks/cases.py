"""Requirements, and the networks that they apply to; a new case is one line of `CASES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import event_loop, exported, networks, one_sample, rows, training, updates
from benchmarks.peers import UNFINISHED
from nmdeploy.network.network import QuantizedNetwork

EXPONENT = 0.05
LIF_SHARE, STATE_SPACE_SHARE = 0.30, 0.35
# Sparse rows at 99 % zeros, and the chosen form of rows wherever: at most the noise of a run slower than dense rows.
SPARSE_GAIN, NEVER_SLOWER = 3, 0.95
SECONDS, MEGABYTES, FLAT = 0.8, 200, 0.1
DEPTH = 0.15
CONVERSION_SECONDS, CONVERSION_MEGABYTES = 30, 4000
# At most 1.15 times as long per state and step as the network whose scales were chosen by hand.
EXPORTED_SHARE = round(1 / 1.15, 3)
NOT_SLOWER = round(one_sample.NEVER_SLOWER, 3)
CALIBRATION = "calibration, 4 layers of 128 neurons, 16 states"
CALIBRATION_GAIN, RANGE_ERROR = 20, 1e-9
CONVERSION = "check and export, 10,000 neurons and 10 million synapses"
TRACE_MEGABYTES, TRACE_BYTES = 500, 3
TRACE = "a trace of all states, 6 layers of 512 channels and 64 complex states, 1,024 steps"
DEMO = "simulate on the demo's model"
UPDATES = {"lif": "LIF", "state_space": "state-space"}


@dataclass(frozen=True)
class Workload:
    """A network, and a function that returns the codes of a number of samples."""

    title: str
    network: Callable[[], QuantizedNetwork]
    inputs: Callable[[int], networks.Codes]
    channels: int

    @classmethod
    def of_events(cls, title: str, channels: int, network: Callable[[], QuantizedNetwork]) -> Workload:
        """Return a network of the benchmark, whose inputs are random events."""
        return cls(title, network, lambda samples: networks.inputs(samples, channels), channels)


def _exported_workload(variant: exported.Variant) -> Workload:
    title = f"exported state-space, {exported.NEURONS} channels, {variant.title}"
    return Workload(title, lambda: exported.exported(variant), exported.codes, 1)


WORKLOADS = {
    "lif-128": Workload.of_events("LIF, 128 channels", 128, lambda: networks.lif(128)),
    "lif-512": Workload.of_events("LIF, 512 channels", 512, lambda: networks.lif(512)),
    "ss-128x16": Workload.of_events(
        "state-space, 128 channels, 16 states, per-product", 128, lambda: networks.state_space(128, 16, "per-product")
    ),
    "ss-128x16-sum": Workload.of_events(
        "state-space, 128 channels, 16 states, per-sum", 128, lambda: networks.state_space(128, 16, "per-sum")
    ),
    "ss-128x64": Workload.of_events(
        "state-space, 128 channels, 64 states, per-product", 128, lambda: networks.state_space(128, 64, "per-product")
    ),
    "lif-128-mixed": Workload.of_events(
        "LIF, 128 channels, parameters per neuron", 128, lambda: networks.lif(128, uniform=False)
    ),
    **{name: _exported_workload(variant) for name, variant in exported.VARIANTS.items()},
}


@dataclass(frozen=True)
class Case:
    """A required ratio: at least `required`, or within `tolerance` of it.

    `measure` names the measurement that it is computed from (`RATIO`); `of` the workload, sweep, kind of neuron or
    limit.
    """

    name: str
    against: str
    required: float
    measure: str
    of: str
    tolerance: float | None = None

    @property
    def title(self) -> str:
        """Name and opponent, which are unique."""
        return f"{self.name} against {self.against}"

    def chosen(self, part: str) -> bool:
        """Return True if the title contains the text."""
        return part.lower() in self.title.lower()


def _lava(workload: str, required: float) -> Case:
    return Case(WORKLOADS[workload].title, "Lava", required, "lava", workload)


def _bound(workload: str, required: float) -> Case:
    return Case(WORKLOADS[workload].title, "the machine's bound", required, "bound", workload)


def _exponent(sweep: str) -> Case:
    name = f"LIF, 128 channels, exponent of {sweep}"
    return Case(name, f"1 +- {EXPONENT}", 1, "exponent", sweep, tolerance=EXPONENT)


def _vectorized(kind: str) -> Case:
    return Case(f"{UPDATES[kind]} updates, vectorized", "a scalar loop", updates.required(kind), "updates", kind)


def _narrow(kind: str) -> Case:
    return Case(f"{UPDATES[kind]} updates, vectors of half the width", "misses what is required", 1, "narrow", kind)


def _rows(name: str) -> Case:
    required = SPARSE_GAIN if name == "rows-8192-99" else NEVER_SLOWER
    return Case(f"{rows.WORKLOADS[name].title}, the form of rows that is chosen", "dense rows", required, "rows", name)


def _exported(name: str) -> Case:
    against = "the benchmark's network of this shape"
    return Case(WORKLOADS[name].title, against, EXPORTED_SHARE, "exported", name)


def _event_loop(name: str) -> Case:
    title = f"{WORKLOADS['lif-128'].title}, {event_loop.SUBJECTS[name]}"
    return Case(title, "an event loop compiled by Numba", 1, "event_loop", name)


def _one_sample(name: str) -> Case:
    title = f"{one_sample.SUBJECTS[name]}, one sample on all processors"
    if name == "one-short":
        return Case(f"{title}, {one_sample.SHORT_STEPS} steps", "one processor", NOT_SLOWER, "one_sample", name)
    return Case(title, "the gain of two samples at once", one_sample.GAIN, "one_sample", name)


def _training(name: str) -> Case:
    rival = training.RIVALS[name]
    return Case(f"training, {name}", rival.name, rival.required, "training", name)


CASES = (
    _lava("lif-128", 3000),
    _lava("lif-512", 900),
    _lava("ss-128x16", 350),
    _lava("ss-128x16-sum", 500),
    _lava("ss-128x64", 110),
    Case(WORKLOADS["lif-128"].title, "the fastest float library", 5, "peers", "lif-128"),
    _bound("lif-128", LIF_SHARE),
    _bound("lif-512", LIF_SHARE),
    _bound("ss-128x16", STATE_SPACE_SHARE),
    _bound("ss-128x16-sum", STATE_SPACE_SHARE),
    _bound("ss-128x64", STATE_SPACE_SHARE),
    *map(_exponent, ("samples", "steps", "layers")),
    *map(_vectorized, UPDATES),
    *map(_narrow, UPDATES),
    *map(_rows, rows.WORKLOADS),
    *map(_exported, exported.plain()),
    *(_bound(name, STATE_SPACE_SHARE) for name in exported.VARIANTS),
    *map(_event_loop, event_loop.SUBJECTS),
    *map(_one_sample, one_sample.SUBJECTS),
    Case(CALIBRATION, "NumPy, step by step", CALIBRATION_GAIN, "calibration", "ratio"),
    *map(_training, training.RIVALS),
    Case(f"{CONVERSION}, the slower one", f"{CONVERSION_SECONDS} s", 1, "conversion", "seconds"),
    Case(f"{CONVERSION}, most memory", f"{CONVERSION_MEGABYTES:,} MB", 1, "conversion", "megabytes"),
    Case("check of a chain, 250 to 2,000 layers, exponent of layers", f"1 +- {DEPTH}", 1, "depth", "check", DEPTH),
    Case(f"{TRACE}, most memory of simulate and verify", f"{TRACE_MEGABYTES} MB", 1, "traces", "megabytes"),
    Case(f"{TRACE}, before compression", f"{TRACE_BYTES} bytes per real state and step", 1, "traces", "bytes"),
    Case(f"{DEMO}, warm cache", f"{SECONDS} s", 1, "startup", "seconds"),
    Case(f"{DEMO}, most memory", f"{MEGABYTES} MB", 1, "startup", "megabytes"),
    Case(
        f"{DEMO}, memory of 100,000 samples", f"that of 1,000, +- {FLAT}", 1, "startup", "with_samples", tolerance=FLAT
    ),
)


def fastest_peer(peers: Mapping[str, Any]) -> str | None:
    """Return the library with the fewest seconds per sample."""
    valid = {name: result["seconds"] for name, result in peers.items() if "seconds" in result}
    return min(valid, key=lambda name: float(valid[name])) if valid else None


def against_lava(measured: Mapping[str, Any], of: str) -> float:
    """Return Lava's seconds per sample over those of `compiled`."""
    return float(measured["lava"][of]["seconds"] / measured["compiled"][of]["seconds"])


def against_peers(measured: Mapping[str, Any], of: str) -> float:
    """Return the seconds per sample of the fastest library over those of `compiled`."""
    peers = measured["peers"][of]
    if UNFINISHED in peers.values():
        raise KeyError("a library that did not finish may be the fastest")
    return float(peers[fastest_peer(peers)]["seconds"] / measured["compiled"][of]["seconds"])


def share_of_bound(measured: Mapping[str, Any], of: str) -> float:
    """Return the bound's seconds over those of `compiled`, both of the deciding turn; 1 is the maximum."""
    return float(measured["bound"][of]["share"])


def growth(measured: Mapping[str, Any], of: str) -> float:
    """Return the fitted exponent."""
    return float(measured["exponent"][of]["exponent"])


def depth(measured: Mapping[str, Any], of: str) -> float:
    """Return the fitted exponent of the time of a command over the layers."""
    return float(measured["depth"][of]["exponent"])


def over_scalar(measured: Mapping[str, Any], of: str) -> float:
    """Return the updates per second of `compiled` over those of the scalar loop, both of the deciding turn."""
    return float(measured["updates"][of]["ratio"])


def over_dense(measured: Mapping[str, Any], of: str) -> float:
    """Least seconds of dense rows over those of the rows that `compiled` chose."""
    return float(measured["rows"][of]["ratio"])


def over_exported(measured: Mapping[str, Any], of: str) -> float:
    """Return the time per state and step of the benchmark's network over that of the exported one."""
    return float(measured["exported"][of]["ratio"])


def over_event_loop(measured: Mapping[str, Any], of: str) -> float:
    """Return the event loop's seconds over those of `compiled`, the median over the turns."""
    return float(measured["event_loop"][of]["ratio"])


def of_two_samples(measured: Mapping[str, Any], of: str) -> float:
    """Return the gain of one sample over that of two; of a short sample, its gain over one processor."""
    return float(measured["one_sample"][of]["ratio"])


def over_rival(measured: Mapping[str, Any], of: str) -> float:
    """Return the rival's seconds per pass over those of the network, the median over the turns."""
    return float(measured["training"][of]["ratio"])


def missed_by(measured: Mapping[str, Any], of: str) -> float:
    """Return how many times as fast kernels of half the vectors' width must become to pass; above 1, they fail."""
    return updates.required(of) / float(measured["narrow"][of]["ratio"])


def within_limit(measured: Mapping[str, Any], of: str) -> float:
    """Return a limit over the measured value; for memory by samples, the last value over the first."""
    found = measured["startup"][of]
    if of == "with_samples":
        first, *_, last = found.values()
        return float(last / first)
    return {"seconds": SECONDS, "megabytes": MEGABYTES}[of] / float(found)


def calibration(measured: Mapping[str, Any], of: str) -> float:
    """Return NumPy's time over that of the compiled float run; 0 if spikes or ranges are others."""
    found = measured["calibration"]
    return float(found[of]) if found["differ"] == 0 and found["error"] <= RANGE_ERROR else 0.0


def conversion(measured: Mapping[str, Any], of: str) -> float:
    """Return a limit over the larger value of the two commands."""
    most = max(float(command[of]) for command in measured["conversion"].values())
    return {"seconds": CONVERSION_SECONDS, "megabytes": CONVERSION_MEGABYTES}[of] / most


def traced(measured: Mapping[str, Any], of: str) -> float:
    """Return a limit over the measured value; for memory, over the larger value of the two commands."""
    found = measured["traces"]
    if of == "bytes":
        return TRACE_BYTES / float(found["bytes"]["before compression"])
    return TRACE_MEGABYTES / max(float(found[command][of]) for command in ("simulate", "verify"))


RATIO: dict[str, Callable[[Mapping[str, Any], str], float]] = {
    "lava": against_lava,
    "peers": against_peers,
    "bound": share_of_bound,
    "exponent": growth,
    "updates": over_scalar,
    "narrow": missed_by,
    "rows": over_dense,
    "exported": over_exported,
    "event_loop": over_event_loop,
    "one_sample": of_two_samples,
    "training": over_rival,
    "startup": within_limit,
    "calibration": calibration,
    "conversion": conversion,
    "depth": depth,
    "traces": traced,
}


def holds(case: Case, ratio: float) -> bool:
    """Return True if the requirement is met."""
    return ratio >= case.required if case.tolerance is None else abs(ratio - case.required) <= case.tolerance


BEFORE = {
    ("bound", "lif-128"): "0.36",
    ("calibration", "ratio"): "1",
    **{("exported", name): "0.42 - 0.61" for name in exported.plain()},
    ("event_loop", "call"): "0.04",
    ("training", "lif-soft"): "0.43",
    ("traces", "megabytes"): "0.059",
    ("traces", "bytes"): "0.25",
}
"""Ratios of commit 47c41a5, by measure and subject, where a requirement was set because of them."""


def judge(case: Case, measured: Mapping[str, Any], missing: Mapping[str, str]) -> dict[str, Any]:
    """Return the case's line of results.json.

    `ok` is None if the user left the measurement out; `missing` holds the reason, by measure or by title. It is False
    if the measurement failed, or if the computed spikes differ from the reference's or Lava's.
    """
    ratio, ok = None, None
    if case.measure not in missing and case.title not in missing:
        try:
            ratio = RATIO[case.measure](measured, case.of)
        except KeyError:
            ratio = None
        equal = all(measured.get("equal", {}).get(case.of, {}).values())
        ok = ratio is not None and equal and holds(case, ratio)
    line = {"name": case.name, "against": case.against, "ratio": ratio, "required": case.required, "ok": ok}
    return {**line, "before": BEFORE.get((case.measure, case.of), "")}
