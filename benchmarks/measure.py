"""All measurements of one run, in one nested dictionary of plain values."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks import (
    bounds,
    calibration,
    conversion,
    depth,
    event_loop,
    exported,
    lava_speed,
    narrow,
    networks,
    one_sample,
    peers,
    rows,
    scaling,
    startup,
    traces,
    training,
    updates,
)
from benchmarks.cases import WORKLOADS, Case
from benchmarks.timing import Effort, Timing, best_batch, repeated, run, seconds_of
from benchmarks.turns import Turn, summary
from nmdeploy.errors import LavaFailed, LavaUnavailable
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording

Progress = Callable[[str], None]
CHECKED, CHECKED_IN_LAVA = 8, 2
MOST_CODES, MOST_SAMPLES, TARGET_SECONDS, TURN_CALLS = 1 << 26, 1024, 0.6, 2
SWEEPS = ("samples", "steps", "layers", "small batches", "channels", "density", "states")


class Suite:
    """Networks, their inputs, and their measurements."""

    def __init__(self, effort: Effort, progress: Progress) -> None:
        self.effort, self.progress = effort, progress
        self.measured: dict[str, Any] = {key: {} for key in ("equal", "compiled", "reference", "rates", "bound")}
        self.jobs: dict[str, tuple[QuantizedNetwork, networks.Codes]] = {}
        self.outputs: dict[str, Any] = {}
        self.machine: bounds.Machine | None = None
        self.rates: bounds.Rates | None = None

    def prepare(self, workloads: Iterable[str]) -> None:
        """Make networks and inputs; the batch holds as many samples as time and memory allow."""
        for name in workloads:
            self.progress(f"{name}: tuning the network")
            workload = WORKLOADS[name]
            most = min(MOST_SAMPLES, 1 << int(np.log2(MOST_CODES // (workload.channels * networks.STEPS))))
            self.jobs[name] = workload.network(), workload.inputs(most)

    def time_compiled(self) -> None:
        """Time every network, after a comparison with the reference on a few samples."""
        for name, (network, codes) in self.jobs.items():
            few = codes[:CHECKED]
            self.progress(f"{name}: the reference on {CHECKED} samples, compiled in batches of several sizes")
            start = time.perf_counter()
            expected = run("reference", network, few)
            seconds = (time.perf_counter() - start) / CHECKED
            self.measured["reference"][name] = Timing(seconds, seconds, seconds, CHECKED, 1).to_json()
            self.outputs[name] = expected.output
            timing = self._timing(network, codes)
            # A large batch may take other paths than a small one.
            outputs = [run("compiled", network, codes[:batch]).output[:CHECKED] for batch in (CHECKED, timing.batch)]
            same = all(np.array_equal(output, expected.output[: len(output)]) for output in outputs)
            self.measured["equal"][name] = {"reference": same}
            self.measured["compiled"][name] = timing.to_json()
            self.measured["bound"][name] = {"work": bounds.work_of(network, expected)}
            self.measured["rates"][name] = rates(network, expected)
            self.progress(
                f"{name}: compiled {1e3 * timing.seconds:.4g} ms per sample (batch {timing.batch}), reference "
                f"{1e3 * seconds:.4g} ms, spikes {'equal' if same else 'DIFFER'}"
            )

    def _timing(self, network: QuantizedNetwork, codes: networks.Codes) -> Timing:
        def call(batch: int) -> Any:
            return run("compiled", network, codes[:batch])

        batch = best_batch(call, len(codes), TARGET_SECONDS)
        return repeated(lambda: call(batch), batch, self.effort.repeats, self.effort.seconds)

    def rate_machine(self) -> None:
        """Find the machine's fastest loops and their rates."""
        widths = {neuron.input_size for network, _ in self.jobs.values() for neuron in network.populations.values()}
        self.progress("the machine's fastest loops: rows, multiply-adds, copies")
        self.machine = bounds.machine(widths or {networks.CHANNELS})
        self.rates = self.machine.rates()

    def find_bounds(self) -> None:
        """Compute each network's bound from the machine's rates.

        The rates and `compiled` are measured in turns, because the machine's speed changes.
        """
        for name, entry in self.measured["bound"].items():
            self.progress(f"{name}: the machine's rates and compiled, {self.effort.turns} turns")
            found = summary([self._turn(name, entry["work"]) for _ in range(self.effort.turns)])
            self.measured["bound"][name] = found
            self.progress(
                f"{name}: bound {1e6 * found['seconds']:.4g} us per sample ({found['limited_by']}), compiled "
                f"{1e6 * found['compiled']:.4g} us: share {found['share']:.3f}"
            )

    def _turn(self, name: str, work: bounds.Work) -> Turn:
        """Return the better of the rates before and after, and the better of two times of `compiled` in between.

        A disturbance slows either, so both are measured equally often.
        """
        assert self.machine is not None and self.rates is not None
        network, codes = self.jobs[name]
        batch, machine = self.measured["compiled"][name]["batch"], self.machine.only(work)
        before = machine.rates()
        _, *times = (seconds_of(lambda: run("compiled", network, codes[:batch])) / batch for _ in range(1 + TURN_CALLS))
        seconds = min(times)  # without the first one, which does not find its memory in the caches
        rates = bounds.faster(before, machine.rates())
        self.rates = bounds.faster(self.rates, rates)
        return Turn(work, rates, seconds)

    def time_updates(self, kinds: Iterable[str]) -> None:
        """Measure neuron or state updates per second, of `compiled` and of the calibration loops."""
        from benchmarks.update_loops import LANES, update_loop

        self.measured["updates"] = {}
        for kind in kinds:
            self.progress(f"{kind} updates: compiled and a scalar loop, {self.effort.update_turns} turns")
            found = updates.measure(kind, self.effort.update_turns)
            vectors = update_loop(kind, LANES)
            found["vectors"] = max(vectors() for _ in range(bounds.TRIES))
            self.measured["updates"][kind] = found
            self.progress(
                f"{kind} updates, 1e9 per second: compiled {found['compiled'] / 1e9:.3g}, "
                f"scalar loop {found['scalar'] / 1e9:.3g}: ratio {found['ratio']:.3g}"
            )

    def time_rows(self, names: Iterable[str]) -> None:
        """Time the form of rows that is chosen for sparse synapses, and dense rows."""
        self.measured["rows"] = {}
        for name in names:
            self.progress(
                f"{rows.WORKLOADS[name].title}: the chosen rows and dense rows, {self.effort.row_turns} turns"
            )
            self.measured["rows"][name] = found = rows.measure(name, self.effort.row_turns)
            self.measured["equal"][name] = {"reference": found.pop("equal")}
            self.progress(
                f"{name}: {found['form']} rows {1e3 * found['chosen']:.4g} ms per sample, dense rows "
                f"{1e3 * found['dense']:.4g} ms: ratio {found['ratio']:.3g}"
            )

    def time_exported(self, names: Iterable[str]) -> None:
        """Time exported networks, and the benchmark's of the same shape."""
        self.measured["exported"] = {}
        for name in names:
            self.progress(f"{name}: quantized from a float network, {self.effort.row_turns} turns")
            self.measured["exported"][name] = found = exported.measure(name, self.effort.row_turns)
            self.progress(
                f"{name}: {found['exported']:.3g} ns per state and step, the benchmark's network "
                f"{found['benchmark']:.3g} ns: ratio {found['ratio']:.3g}"
            )

    def time_event_loop(self, names: Iterable[str]) -> None:
        """Time an event loop that Numba compiles, and `compiled`."""
        self.progress(f"an event loop compiled by Numba, {self.effort.row_turns} turns")
        self.measured["event_loop"] = found = event_loop.measure(self.effort.row_turns)
        for name, each in found.items():
            self.measured["equal"][name] = {"reference": each.pop("equal")}
            self.progress(
                f"{event_loop.SUBJECTS[name]}: compiled {1e6 * each['compiled']:.4g} us, the loop "
                f"{1e6 * each['numba']:.4g} us: ratio {each['ratio']:.3g}"
            )

    def time_one_sample(self, names: Iterable[str]) -> None:
        """Time single samples on one processor and on all."""
        self.measured["one_sample"] = {}
        for name in names:
            self.progress(f"one sample, {one_sample.SUBJECTS[name]}: {self.effort.row_turns} turns")
            self.measured["one_sample"][name] = found = one_sample.measure(name, self.effort.row_turns)
            self.progress(
                f"{name}: {1e6 * found['alone']:.4g} us on one processor, {1e6 * found['shared']:.4g} us on all: gain "
                f"{found['gain']:.3g}, that of two samples {found['gain of two']:.3g}"
            )

    def time_training(self, names: Sequence[str]) -> str | None:
        """Time passes of training in turns; return the reason if it failed."""
        self.progress(f"training: forward and backward passes, {self.effort.training_turns} turns")
        try:
            self.measured["training"] = training.measured(self.effort.training_turns)
        except subprocess.CalledProcessError as error:
            return f"its process failed: {error}"
        for name, found in self.measured["training"].items():
            self.progress(f"{name}: {found['seconds']:.3g} s per pass")
        return None

    def time_narrow(self, kinds: Sequence[str]) -> str | None:
        """Measure the updates of kernels for vectors of half the width; return the reason if it failed."""
        self.progress("updates, compiled for vectors of half the width")
        self.measured["narrow"] = {}
        try:
            self.measured["narrow"] = narrow.measured(kinds, self.effort.update_turns)
        except subprocess.CalledProcessError as error:
            return f"its process failed: {error}"
        for kind, found in self.measured["narrow"].items():
            self.progress(f"{kind} updates, vectors of {found['bits']} bits: ratio {found['ratio']:.3g}")
        return None

    def time_startup(self, limits: Sequence[str]) -> str | None:
        """Measure time and memory of a whole process on the demo's model; return the reason if it failed."""
        self.progress(f"simulate on the demo's model: {self.effort.starts} runs, then {startup.SAMPLES[-1]:,} samples")
        try:
            self.measured["startup"] = startup.measure(self.effort.starts)
        except subprocess.CalledProcessError as error:
            return f"a process failed: {error}"
        self.progress(startup.told(self.measured["startup"]))
        return None

    def time_calibration(self, limits: Sequence[str]) -> str | None:
        """Measure the compiled float run and the loop in NumPy."""
        self.progress("calibration: the float run, compiled and in NumPy")
        self.measured["calibration"] = calibration.measure(self.effort.update_turns)
        self.progress(calibration.told(self.measured["calibration"]))
        return None

    def time_conversion(self, limits: Sequence[str]) -> str | None:
        """Measure time and memory of check and export of a large network; return the reason if it failed."""
        self.progress("check and export of 10 million synapses")
        try:
            self.measured["conversion"] = conversion.measure(runs=1)
        except subprocess.CalledProcessError as error:
            return f"a process failed: {error}"
        self.progress(conversion.told(self.measured["conversion"]))
        return None

    def time_depth(self, commands: Sequence[str]) -> str | None:
        """Measure the growth of `check` with the layers of a chain."""
        self.progress(f"check of chains of {depth.LAYERS[0]} to {depth.LAYERS[-1]} layers")
        self.measured["depth"] = {"check": depth.measure(rounds=2)}
        self.progress(depth.told(self.measured["depth"]["check"]))
        return None

    def time_traces(self, limits: Sequence[str]) -> str | None:
        """Measure time and memory of a trace of all states; return the reason if it failed."""
        self.progress("simulate --trace states and verify of one large sample")
        try:
            self.measured["traces"] = traces.measure(runs=1)
        except subprocess.CalledProcessError as error:
            return f"a process failed: {error}"
        self.progress(traces.told(self.measured["traces"]))
        return None

    def time_scaling(self, names: Iterable[str]) -> None:
        """Measure the sweeps."""
        self.measured["exponent"] = scaling.run_all(self.effort, list(names), self.progress)

    def time_lava(self, workloads: Iterable[str]) -> str | None:
        """Time Lava and compare its spikes; return the reason if it failed."""
        jobs = {name: (self.jobs[name][0], self.jobs[name][1][:CHECKED_IN_LAVA]) for name in workloads}
        self.measured["lava"] = {}
        self.progress(f"Lava: {', '.join(jobs)}, {1 + self.effort.lava_repeats} samples each")
        try:
            found = lava_speed.measure(
                jobs,
                self.effort.lava_repeats,
                lambda name, s: self.progress(f"{name}: Lava {1e3 * s:.4g} ms per sample"),
            )
        except (LavaUnavailable, LavaFailed) as error:
            return str(error)
        for name, result in found.items():
            same = np.array_equal(result.spikes[:CHECKED_IN_LAVA], self.outputs[name][:CHECKED_IN_LAVA])
            self.measured["equal"][name]["lava"] = same
            self.measured["lava"][name] = {"seconds": result.seconds_per_sample, "runs": result.seconds}
            self.progress(f"{name}: Lava's spikes {'equal' if same else 'DIFFER'}")
        return None

    def time_peers(self, workloads: Iterable[str]) -> str | None:
        """Time the float libraries; return the reason if none could be measured."""
        self.measured["peers"] = {}
        for name in workloads:
            network, codes = self.jobs[name]
            self.progress(f"{name}: float libraries, in batches of 1 to {peers.BATCHES[-1]} samples")
            try:
                self.measured["peers"][name] = peers.measure(
                    network, codes[:CHECKED], self.outputs[name], self.effort.peer_repeats, self._peer
                )
            except RuntimeError as error:
                return str(error)
            if peers.UNFINISHED in self.measured["peers"][name].values():
                return f"a library failed, or took over {peers.LIMIT_SECONDS:g} s: it may be the fastest"
        return None

    def _peer(self, name: str, result: dict[str, Any]) -> None:
        if result == peers.UNFINISHED:
            return
        if "error" in result:
            self.progress(f"{name}: {result['error']}")
            return
        self.progress(
            f"{name}: {1e3 * result['seconds']:.4g} ms per sample (batch {result['batch']}), "
            f"{100 * result['agreement']:.1f} % of the output equal"
        )


def rates(network: QuantizedNetwork, recording: Recording) -> dict[str, float]:
    """Return the spikes per neuron and step of each population that sends spikes."""
    spiking = {name: neuron for name, neuron in network.populations.items() if neuron.emits == "binary"}
    samples, steps = recording.output.shape[:2]
    counts = {name: float(np.sum(recording.layers[name].counts["spikes"])) for name in spiking}
    return {name: counts[name] / (neuron.output_size * samples * steps) for name, neuron in spiking.items()}


def of(cases: Iterable[Case], measure: str) -> list[str]:
    """Return the subjects of the cases of a measure."""
    return list(dict.fromkeys(case.of for case in cases if case.measure == measure))
