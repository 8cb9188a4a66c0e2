"""The compiled float run against the loop in NumPy: states, spikes, extremes, and the integers that export writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nmdeploy.engine.lower.slots import words
from nmdeploy.engine.run import float_run, float_stepwise
from nmdeploy.engine.run.float_population import FloatRunner, compile_float, run_compiled
from nmdeploy.engine.run.float_run import run_float_layers
from nmdeploy.engine.run.float_stepwise import run_stepwise
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.errors import NmdeployError
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.quantization import post_training
from nmdeploy.quantization.population_runs import record_arrivals
from nmdeploy.synapses.dense import Dense
from tests.helpers.family_examples import examples, inputs, network
from tests.helpers.figures import Figures
from tests.helpers.float_populations import in_numpy, part_of, populations, registers, sums_of

STATE_ERROR, TIE, EXTREME_ERROR = 1e-12, 1e-9, 1e-9
STEPS, SAMPLES = 24, 2


def _close(found: Any, wanted: Any, limit: float) -> bool:
    size = np.abs(wanted).max(initial=0.0)
    return bool((np.abs(found - wanted) <= limit * max(size, 1e-300)).all())


def _forced(neuron: Neuron, sums: Any) -> tuple[int, int, int]:
    """Run the kernel from NumPy's state in each step; return the values compared, the spikes that differ, and ties.

    A spike may differ where the membrane is within `TIE` of a threshold.
    """
    kernel = compile_float(neuron, False, {})
    runner = FloatRunner(kernel, sums.shape[1])
    size, steps, latency = neuron.size, sums.shape[1], neuron.output_latency
    compared = differ = ties = 0
    for sample in range(len(sums)):
        for step, before, after, output in in_numpy(neuron, sums[sample : sample + 1]):
            for key, part, held in registers(kernel):
                _write(runner, held, part_of(before[key][0], part))
            if step < steps:  # a call's sums begin with those of its first step
                runner.sums[0, :, :size] = sums[sample, step].reshape(size, -1).T
            runner.call(runner.args.ctypes.data, step, step + 1, steps)
            if step >= latency:
                row = runner.out[step - latency, :, :size].T.reshape(-1)
                wrong = row != output[0].astype(np.float64)
                rounding = STATE_ERROR * np.abs(output[0]).max(initial=1e-300)
                values = wrong if output.dtype == bool else np.abs(row - output[0]) > rounding
                near = _near_threshold(neuron, after)
                differ += int((values & ~near).sum())
                ties += int((values & near).sum())
                if values.any():
                    continue  # its reset differs, too
            for key, part, held in registers(kernel):
                wanted = part_of(after[key][0], part).astype(np.float64)
                assert _close(_read(runner, held), wanted, STATE_ERROR), (neuron.kind, key, step)
                compared += wanted.size
    return compared, differ, ties


def _near_threshold(neuron: Neuron, state: Any) -> Any:
    """Return True for each output whose membrane is close to a decision."""
    if neuron.kind == "lif":
        return np.abs(state["y"][0] - neuron.v_threshold) < TIE  # type: ignore[attr-defined]
    return np.zeros(neuron.output_size, bool)


def _write(runner: FloatRunner, held: Any, values: Any) -> None:
    blocks, lanes = runner.kernel.blocks, runner.kernel.lanes
    flat = values.reshape(len(values), -1)[np.minimum(np.arange(blocks * lanes), len(values) - 1)]
    kept = words(flat.reshape(blocks, lanes, -1).transpose(0, 2, 1), held.lane)
    runner.state[:, held.slot : held.slot + kept.shape[1]] = kept


def _read(runner: FloatRunner, held: Any) -> Any:
    kernel, count = runner.kernel, int(np.prod(held.dims))
    slots = np.ascontiguousarray(runner.state[:, held.slot : held.slot + 2 * count])
    kind = np.int64 if held.lane.value == "mask" else np.float64
    values = slots.reshape(kernel.blocks, -1).view(kind).reshape(kernel.blocks, count, kernel.lanes)
    flat = values.transpose(0, 2, 1).reshape(kernel.width, count)[: runner.neuron.size]
    return flat.reshape(runner.neuron.size, *held.dims).astype(np.float64)


def _compare(every: int, figures: Figures) -> None:
    compared = differ = ties = 0
    for index, (name, neuron) in enumerate(populations(every)):
        try:
            found = _forced(neuron, sums_of(neuron, index, SAMPLES, STEPS))
        except NotTraceable as error:  # pragma: no cover - every family of ours is compiled
            raise AssertionError(f"{name}: {error}") from None
        compared, differ, ties = compared + found[0], differ + found[1], ties + found[2]
        assert not found[1], name
    figures(f"float steps: {compared:,} states within {STATE_ERROR:g}, {differ} outputs differ, {ties} ties")
    assert compared > 1000


def test_every_family_from_the_same_state(figures: Figures) -> None:
    _compare(48, figures)


@pytest.mark.slow
def test_more_combinations_of_mechanisms_from_the_same_state(figures: Figures) -> None:
    _compare(5, figures)


@pytest.mark.parametrize("index", range(len(examples())))
def test_a_whole_run_and_its_extremes(index: int) -> None:
    neuron = examples()[index]
    sums, lengths = sums_of(neuron, index, 3, 40), np.array([40, 17, 1])
    recorded = {"m": neuron.membrane, "before": neuron.membrane_before_reset}
    found = run_compiled(compile_float(neuron, True, recorded), sums, lengths)
    wanted = run_stepwise(neuron, sums, lengths, observe=True, recorded=recorded)
    assert found.outputs.dtype == wanted.outputs.dtype and found.outputs.any()
    assert np.allclose(found.outputs, wanted.outputs, rtol=1e-9, atol=1e-12)
    assert found.extremes.keys() == wanted.extremes.keys()
    for name, value in wanted.extremes.items():
        assert found.extremes[name].shape == value.shape and _close(found.extremes[name], value, EXTREME_ERROR)
    for name in recorded:
        for sample, length in enumerate(lengths):
            one, other = found.recorded[name][sample, :length], wanted.recorded[name][sample, :length]
            assert one.shape == other.shape and _close(one, other, EXTREME_ERROR)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a job is, it is compiled."""
    monkeypatch.setattr(float_stepwise, "LEAST_WORK", 0)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("index", range(len(examples())))
def test_the_integers_of_an_export_are_the_same(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    floats, data = network(examples()[index]), inputs()
    found = post_training.calibrate(floats, data)
    monkeypatch.setattr(post_training, "run_float_layers", _in_numpy)
    wanted = post_training.calibrate(floats, data)
    assert {name: each.keys() for name, each in found.items()} == {name: each.keys() for name, each in wanted.items()}
    config = QuantizationConfig()
    try:
        one, other = (post_training.quantize_network(floats, config, ranges=ranges) for ranges in (found, wanted))
    except NmdeployError:
        pytest.skip("this example has no integers in these formats")
    assert one.nodes == other.nodes


def _in_numpy(*args: Any, keep_spikes: bool, **options: Any) -> Any:
    return run_float(*args, **options)


def _delayed() -> Network:
    """Two sources with delays into one synapse, a skip, and a readout of membranes."""
    rng = np.random.default_rng(3)

    def lif(size: int) -> LIF:
        rates = {"alpha": rng.uniform(0, 0.9, size), "beta": rng.uniform(0.5, 0.9, size)}
        return LIF(**rates, v_threshold=np.ones(size), refractory_steps=2)

    nodes = {
        "input": Input((6,)),
        "a": Dense(rng.normal(size=(9, 6)), rng.normal(size=9) * 0.1),
        "one": lif(9),
        "b": Dense(rng.normal(size=(9, 9))),
        "two": lif(9),
        "c": Dense(rng.normal(size=(4, 9))),
        "d": Dense(rng.normal(size=(4, 6))),
        "out": Integrator(beta=np.full(4, 0.9)),
    }
    pairs = [("input", "a", 0), ("a", "one", 0), ("one", "b", 2), ("b", "two", 0), ("one", "c", 1), ("two", "c", 3)]
    pairs += [("input", "d", 4), ("c", "out", 0), ("d", "out", 0)]
    return Network(nodes, tuple(Edge(*pair) for pair in pairs), 1e-3, "out", "last")


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("read", ["last", "membrane-last"])
def test_delays_skips_lengths_and_traces(read: str) -> None:
    floats = replace(_delayed(), output="two", readout=read) if read.startswith("m") else _delayed()
    data = (np.random.default_rng(4).random((7, 30, 6)) < 0.4).astype(float)
    lengths = np.array([30, 30, 12, 5, 1, 30, 29])
    _same_runs(floats, data, lengths)


def _same_runs(floats: Network, data: Any, lengths: Any) -> None:
    found = run_float_layers(floats, data, trace=True, observe=True, lengths=lengths)
    wanted = run_float(floats, data, trace=True, observe=True, lengths=lengths)
    assert found.spikes.keys() == wanted.spikes.keys() and all(spikes.any() for spikes in wanted.spikes.values())
    for sample, length in enumerate(lengths):
        assert np.allclose(found.output[sample, :length], wanted.output[sample, :length], rtol=1e-12)
        for name in wanted.spikes:
            assert np.array_equal(found.spikes[name][sample, :length], wanted.spikes[name][sample, :length])
        for name in wanted.membranes:
            assert np.allclose(found.membranes[name][sample, :length], wanted.membranes[name][sample, :length])
    for name, ranges in wanted.ranges.items():
        assert all(_close(found.ranges[name][key], value, EXTREME_ERROR) for key, value in ranges.items())


def _looped() -> Network:
    """The delayed network with a loop of two populations, one of a population with itself, and states of two parts."""
    floats, rng = _delayed(), np.random.default_rng(8)
    ssm = StateSpace(
        a=np.exp(-rng.uniform(0.05, 0.5, (9, 6)) + 1j * rng.uniform(0, 3, (9, 6))),
        b=rng.normal(size=(9, 6)) + 0j,
        c=rng.normal(size=(9, 6)) + 1j * rng.normal(size=(9, 6)),
        d=np.zeros(9),
        v_threshold=np.ones(9),
    )
    nodes = {**floats.nodes, "two": ssm, "back": Dense(np.eye(9) * 0.3), "own": Dense(rng.normal(size=(9, 9)) * 0.3)}
    pairs = [("two", "back", 1), ("back", "one", 0), ("two", "own", 2), ("own", "two", 0)]
    return replace(floats, nodes=nodes, edges=(*floats.edges, *(Edge(*pair) for pair in pairs)))


@pytest.mark.parametrize("work", [0, 1 << 40])
@pytest.mark.parametrize("read", ["last", "membrane-last"])
def test_loops(read: str, work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_stepwise, "LEAST_WORK", work)
    floats = replace(_looped(), output="one", readout=read) if read.startswith("m") else _looped()
    data = (np.random.default_rng(5).random((5, 20, 6)) < 0.4).astype(float)
    _same_runs(floats, data, np.array([20, 3, 1, 20, 19]))


def test_a_loop_records_what_arrives() -> None:
    data = (np.random.default_rng(5).random((5, 20, 6)) < 0.4).astype(float)
    found = record_arrivals(_looped(), data, np.full(5, 20))
    sent = run_float(_looped(), data).spikes["two"].astype(float)
    assert np.array_equal(found.values["back"][:, 1:], sent[:, :-1]) and not found.values["back"][:, 0].any()
    assert np.array_equal(found.values["own"][:, 2:], sent[:, :-2]) and sent.any()


@pytest.mark.usefixtures("compiled")
def test_the_callback_gets_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_run, "processors", lambda: 1)  # else it gets the samples in several parts
    floats = _delayed()
    data = (np.random.default_rng(6).random((5, 8, 6)) < 0.4).astype(float)
    seen: dict[str, list[Any]] = {"layers": [], "steps": []}

    def listener(key: str) -> Any:
        return lambda name, a, output, now, valid: seen[key].append((name, now.step, a.copy(), output.copy(), valid))

    run_float_layers(floats, data, on_sums=listener("layers"))
    run_float(floats, data, on_sums=listener("steps"))
    one, other = ({(n, s): (a, o, v) for n, s, a, o, v in seen[key]} for key in ("layers", "steps"))
    assert one.keys() == other.keys()
    assert all(np.allclose(x, y) for key in one for x, y in zip(one[key], other[key], strict=True))


def test_a_family_that_branches_runs_in_numpy(compiled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise NotTraceable("a branch")

    monkeypatch.setattr(float_stepwise, "compile_float", refuse)
    data = (np.random.default_rng(7).random((2, 10, 6)) < 0.4).astype(float)
    assert np.allclose(run_float_layers(_delayed(), data).output, run_float(_delayed(), data).output)
