"""Readouts of membranes: the value before the reset, in float units, the same in every backend and with any trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner
from equal_runs import both, random_codes, random_lengths
from family_examples import examples, inputs, network, quantized
from networks import dense_case, lif_case, state_space_case
from requires_lava import require_lava

import nmdeploy
from nmdeploy.backends import lava, reference
from nmdeploy.cli.commands import main
from nmdeploy.cli.reading_options import READOUTS as OFFERED
from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.examples import digits
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import READOUTS
from nmdeploy.network.network import QuantizedNetwork, readout_values
from nmdeploy.network.reading import Fact
from nmdeploy.neurons.base import ThreePartNeuron
from nmdeploy.neurons.lif import LIF
from nmdeploy.nir_io import read, write
from nmdeploy.recording.reader import read_recording, write_recording
from nmdeploy.running import run_data
from nmdeploy.samples.source import Data

READABLE = [neuron for neuron in examples() if neuron.membrane_register is not None]
FAMILIES = {"lif", "integrator", "state_space", "dense_state_space"}


def membranes_of(monkeypatch: pytest.MonkeyPatch, q: QuantizedNetwork, codes: Any) -> Any:
    """Membranes before their reset, from inside of the integer steps of a run: codes (samples, steps, outputs)."""
    neuron, found = q.populations[q.output], []
    original = type(neuron).advance

    def spy(self: Any, registers: Any, a: Any, now: Any) -> Any:
        if self is neuron:
            states, z = registers
            if isinstance(self, ThreePartNeuron):
                wide = tuple(r[..., None] for r in z)
                found.append(self.integrate(states, a[..., None], wide, self.state_params)[1][0][..., 0])
            else:
                sums = a.reshape(len(a), self.size, self.inputs) + self.input_bias
                held = (z[0] != 0) & (self.refractory_mode == "hold")
                _, y, _ = self.update_dynamics(states, sums, held)
                found.append((self._membrane(y, [*z[2:]], held)[1][0] if self.soma else y).reshape(len(a), -1))
        return original(self, registers, a, now)

    with monkeypatch.context() as patched:
        patched.setattr(type(neuron), "advance", spy)
        reference.run(q, codes)
    return np.stack(found, 1)


def in_float_units(q: QuantizedNetwork, codes: Any) -> Any:
    """Codes of membranes, in the units of the float network."""
    neuron = q.populations[q.output]
    name = neuron.membrane_register
    assert name is not None
    shape = (*codes.shape[:2], neuron.size, *[neuron.outputs] * (neuron.outputs > 1))
    return neuron.dequantize_state(name, codes.reshape(shape)).reshape(codes.shape)


def test_rules_are_those_that_the_command_line_offers() -> None:
    assert OFFERED == READOUTS and {neuron.kind for neuron in READABLE} == FAMILIES


@pytest.mark.parametrize("index", range(len(READABLE)))
def test_examples_of_all_families_give_the_membrane_before_the_reset(
    index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = replace(quantized(READABLE[index]), readout="membrane-last")
    codes = inputs()[:4]
    recording = reference.run(q, codes)
    assert np.array_equal(recording.output, in_float_units(q, membranes_of(monkeypatch, q, codes)))
    assert not recording.spiking and not recording.layers["n"].states


@pytest.mark.parametrize("make", [lif_case, state_space_case, dense_case])
def test_random_networks_give_the_membrane_before_the_reset_in_both_backends(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = spiked = 0
    for seed in range(12):
        case = make(seed)
        neuron = case.network.populations[case.network.output]
        if neuron.membrane_register is None or neuron.output_latency:
            continue
        q = replace(case.network, readout="membrane-max")
        codes = random_codes(q, seed, 3, 40)
        expected = in_float_units(q, membranes_of(monkeypatch, q, codes))
        lengths = random_lengths(seed, 3, 40)
        for trace in ("none", "spikes", "states"):
            recording, _ = both(q, codes, lengths, trace)  # compares the output of both
            valid = (np.arange(40) < lengths[:, None])[..., None]
            assert np.array_equal(recording.output * valid, expected * valid)
            spiked += int(recording.layers[q.output].counts["spikes"].sum())
        compared += 1
        if compared >= 3 and spiked > 100:
            return
    pytest.fail(f"only {compared} networks with {spiked} spikes were compared")


@pytest.mark.slow
def test_lava_gives_the_same_membranes() -> None:
    require_lava()
    networks = [replace(quantized(neuron), readout="membrane-sum") for neuron in READABLE]
    codes = inputs()[:2]
    for trace in ("none", "states"):
        for q, actual in zip(networks, lava.run_many([(q, codes) for q in networks], trace=trace), strict=True):
            expected = reference.run(q, codes, trace=trace)
            assert np.array_equal(expected.output, actual.output) and not actual.spiking
            assert [*actual.layers["n"].states] == [*expected.layers["n"].states]


@pytest.mark.parametrize("index", range(len(READABLE)))
def test_float_run_gives_the_membrane_before_the_reset(index: int) -> None:
    neuron = READABLE[index]
    plain = network(neuron)
    floats = replace(plain, readout="membrane-last")
    found = run_float(floats, inputs()[:4], trace=True)
    assert np.array_equal(found.spikes.get("n", 0), run_float(plain, inputs()[:4]).spikes.get("n", 0))
    if isinstance(neuron, LIF):
        assert (found.output > neuron.v_threshold)[found.spikes["n"]].all()
        assert np.array_equal(found.output[~found.spikes["n"]], found.membranes["n"][~found.spikes["n"]])
    integers = reference.run(replace(quantized(neuron), readout="membrane-last"), inputs()[:4]).output
    first = np.abs(found.output[:, 0]).max()
    assert np.abs(integers[:, 0] - found.output[:, 0]).max() < 0.2 * max(first, 1e-9)  # before spikes can differ


def test_membranes_of_neurons_with_scales_of_their_own_can_be_compared() -> None:
    """Thresholds of 1 and 100 give the two neurons different units; the class follows from the float values."""
    neuron = LIF(np.zeros(2), 0.9, np.array([1.0, 100.0]))
    q = quantized(neuron)
    assert len(set(q.populations["n"].scale)) == 2
    q = replace(q, readout="membrane-last")
    floats = replace(network(neuron), readout="membrane-last")
    values = run_float(floats, inputs()).output
    recording = run_data(q, Data(inputs(), None, np.full(20, 60)), "reference", "none")
    same = recording.predictions == readout_values(values, "membrane-last").argmax(1)
    assert same.mean() >= 0.95


def test_rules_reduce_valid_steps() -> None:
    outputs, lengths = np.array([[[1.0, -3.0], [0.5, -1.0], [9.0, 9.0]]]), np.array([2])
    found = {rule: readout_values(outputs, f"membrane-{rule}", lengths)[0].tolist() for rule in ("last", "max", "sum")}
    assert found == {"last": [0.5, -1.0], "max": [1.0, -1.0], "sum": [1.5, -4.0]}


def test_families_without_such_a_membrane_are_refused_by_name() -> None:
    refused = [neuron for neuron in examples() if neuron.membrane_register is None]
    assert {"gated_linear_unit", "windowed_state_space"} <= {neuron.kind for neuron in refused}
    for neuron in refused:
        with pytest.raises(UnsupportedParameter, match=rf"node 'n': --readout membrane-max: this {neuron.kind} "):
            replace(network(neuron), readout="membrane-max")
    with pytest.raises(BadOption, match="'membrane-mean' is unknown"):
        replace(network(READABLE[0]), readout="membrane-mean")


def test_membranes_are_recorded_in_a_file(tmp_path: Path) -> None:
    q = replace(quantized(READABLE[0]), readout="membrane-last")
    recording = run_data(q, Data(inputs()[:5], None, np.full(5, 60)), "reference", "spikes")
    write_recording(recording, tmp_path / "r.h5")
    again = read_recording(tmp_path / "r.h5")
    assert np.array_equal(again.output, recording.output) and not again.spiking


def test_a_backend_that_returns_spikes_in_their_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    q = quantized(next(neuron for neuron in READABLE if neuron.spiking))
    data = Data(inputs()[:2], None, np.full(2, 60))
    spikes = reference.run(q, data.codes)
    monkeypatch.setattr(reference, "run", lambda *_, **__: spikes)
    with pytest.raises(BadOption, match="'reference' returns spikes, not the membranes of readout 'membrane-last'"):
        run_data(replace(q, readout="membrane-last"), data, "reference", "none")


def test_a_model_file_keeps_the_rule(tmp_path: Path) -> None:
    q = replace(quantized(READABLE[0]), readout="membrane-sum")
    write(q, tmp_path / "m.nir")
    assert read(tmp_path / "m.nir") == q


def command(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_a_nir_file_is_read_out_by_its_membranes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file to the report: the option holds for the export and for the float network of `verify`."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    ones = np.ones(3)
    lif = nir.LIF(tau=ones / 5, r=ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones)
    nodes = {"input": nir.Input(np.array([4])), "fc": nir.Linear(rng.normal(0, 4, (3, 4))), "n": lif}
    nodes["output"] = nir.Output(np.array([3]))
    nir.write("net.nir", nir.NIRGraph(nodes, [("input", "fc"), ("fc", "n"), ("n", "output")]))
    held = {"inputs": rng.random((30, 20, 4)), "labels": rng.integers(0, 3, 30)}
    np.savez("data.npz", **held)
    given = ("--dt", "0.05", "--data", "data.npz", "-o", "model.nir")
    made = command("export", "net.nir", "--readout", "membrane-last", *given)
    assert made.exit_code == 0 and "the host reads the states of 'n' in every step" in made.stderr
    model = read("model.nir")
    assert model.readout == "membrane-last" and model.read_as is not None
    assert model.read_as.network["readout"] == Fact("membrane-last", "option")
    assert command("simulate", "model.nir", "--data", "data.npz", "-o", "rec.h5").exit_code == 0
    floats = run_float(replace(nmdeploy.load("net.nir", dt=0.05), readout="membrane-last"), held["inputs"])
    recording = read_recording("rec.h5")
    assert (np.abs(recording.output - floats.output) < 0.1).mean() > 0.95 and floats.spikes["n"].any()
    assert (recording.predictions == floats.output[:, -1].argmax(1)).mean() > 0.9
    checked = command("verify", "model.nir", "--data", "data.npz", "--checkpoint", "net.nir", "--against", "compiled")
    assert checked.exit_code == 0, checked.output
    assert command("report", "model.nir", "--data", "data.npz", "-o", "report.json").exit_code == 0
    assert command("inspect", "model.nir").exit_code == 0
    assert command("export", digits().checkpoint, "--readout", "membrane-last", "-o", "m.nir").exit_code == 2
