"""Factors on weights: ternary codes, codes of a grid, and rows of small weights keep what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy.backends import reference
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.base import Synapse
from nmdeploy.synapses.dense import SIGN_MODES, Dense, code_range
from nmdeploy.synapses.scale_group import ScaleGroup
from nmdeploy.synapses.sparse import Sparse

FORMS = pytest.mark.parametrize("form", [Dense, Sparse.from_matrix], ids=["dense", "sparse"])
Codes = list[np.ndarray[Any, Any]]


def network(neuron: Neuron, *synapses: Synapse) -> Network:
    """One population with synapses from inputs of as many channels."""
    nodes: dict[str, Any] = {"i": Input((synapses[0].shape[1],))}
    edges = []
    for index, synapse in enumerate(synapses):
        nodes[f"s{index}"] = synapse
        edges += [Edge("i", f"s{index}"), Edge(f"s{index}", "n")]
    return Network(nodes | {"n": neuron}, tuple(edges), 1e-3, "n")


def spikes(floats: Network) -> Any:
    return np.random.default_rng(1).integers(0, 2, (4, 40, floats.input.size))


def integers(floats: Network, bits: int = 8, signs: tuple[str, ...] = ("mixed",)) -> QuantizedNetwork:
    config = QuantizationConfig(weight_bits=bits, sign_modes=signs)
    return quantize_network(floats, config, ranges=calibrate(floats, spikes(floats)))


def real_weights(q: QuantizedNetwork, name: str) -> Any:
    """Weights that the codes stand for, in the float network's units."""
    synapse: Any = q.synapses[name]
    codes = synapse.rows.matrix(lambda codes: codes.astype(np.float64)) * np.exp2(-synapse.frac)
    return codes / q.populations["n"].scale[:, None]


def lif(size: int, threshold: Any = 1.0) -> LIF:
    return LIF(np.zeros(size), 0.9, threshold)  # type: ignore[arg-type]


@FORMS
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("step", [1.0, 0.3, 1e-3])
def test_ternary_weights_fit_any_width(form: Any, bits: int, step: float) -> None:
    weight = np.array([[-1, 0, 1, 1], [1, -1, 0, 0]]) * step
    q = integers(network(lif(2, 2.5 * step), form(weight)), bits)
    codes = q.synapses["s0"].rows.matrix(lambda values: values)
    assert np.array_equal(codes, np.sign(weight) * codes.max())
    assert bits > 2 or codes.max() == 1


@FORMS
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_largest_weight_is_clipped_only_where_that_costs_less(form: Any, bits: int) -> None:
    """A code above the largest one is at most taken where one bit less would change the weights more."""
    high = code_range("mixed", bits)[1]
    for weight in (np.array([[high + 1.0, 0.0]]), np.array([[high + 1.0, *np.arange(-high, high, 2.0)]])):
        synapse = form(weight)
        frac = synapse.frac(np.ones(1), QuantizationConfig(weight_bits=bits))

        def error(frac: int, weight: Any = weight) -> float:
            codes = np.clip(np.rint(np.ldexp(weight, frac)), -high - 1, high)
            return float(((np.ldexp(codes, -frac) - weight) ** 2).sum())

        assert error(frac) == min(error(f) for f in (-1, 0))


def grid_network(form: Any, bits: int, rows: int, inputs: int, per_row: bool, powers: list[int], seed: int) -> Network:
    """Random codes times a step, for all rows or for each, in synapses whose steps differ by powers of two."""
    rng = np.random.default_rng(seed)
    step = rng.uniform(0.1, 1, (rows, 1) if per_row else ())
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    synapses = []
    for power in powers:
        codes = rng.integers(low, high, (rows, inputs), endpoint=True)
        synapses.append(form((codes * step * 2.0**power).astype(np.float32).astype(np.float64)))
    return network(lif(rows, float(np.max(step)) * high), *synapses)


def assert_kept(floats: Network, bits: int, signs: tuple[str, ...] = ("mixed",)) -> None:
    q = integers(floats, bits, signs)
    for name, synapse in floats.synapses.items():
        exact = synapse.weight if isinstance(synapse, Dense) else synapse.rows.matrix(lambda values: values)
        assert np.allclose(real_weights(q, name), exact, rtol=3e-6, atol=0)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_codes_of_a_grid_are_kept(data: st.DataObject) -> None:
    """For every width, sign and form: a step for all rows, or one per row, and synapses whose steps differ by 2**e."""
    bits, signs = data.draw(st.integers(2, 8)), data.draw(st.sampled_from([("mixed",), SIGN_MODES]))
    form = data.draw(st.sampled_from([Dense, Sparse.from_matrix]))
    rows, inputs, per_row = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6)), data.draw(st.booleans())
    powers = data.draw(st.lists(st.integers(-3, 3), min_size=1, max_size=3))
    assert_kept(grid_network(form, bits, rows, inputs, per_row, powers, data.draw(st.integers(0, 10_000))), bits, signs)


def test_a_power_for_one_synapse_can_leave_the_next_no_room() -> None:
    """Two powers fit the first two synapses of a few weights equally well, and the third fits one of them only."""
    assert_kept(grid_network(Dense, 7, 3, 2, True, [0, 1, 0], seed=0), 7)


def test_random_weights_lie_on_no_grid() -> None:
    weight = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    grids = Dense(weight).grids(np.arange(50), QuantizationConfig())
    assert not grids.step.any() and not grids.room.any()
    assert Dense(weight).grids(np.zeros(50, np.int64), QuantizationConfig()).step.tolist() == [0.0]
    assert np.isinf(Dense(np.zeros((1, 3))).grids(np.zeros(1, np.int64), QuantizationConfig()).step).all()


def test_grids_that_no_factor_keeps_are_named() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.integers(-127, 128, (4, 30)) for _ in range(2))
    q = integers(network(lif(4, 100.0), Dense(one * 0.037), Dense(other * 0.05)))
    assert any("'n': weights lie on grids" in note and "'s0' 0.037, 's1' 0.05" in note for note in q.notes)
    readout = Integrator(np.full(4, 0.9))
    steps = np.array([[0.01], [0.02], [0.03], [0.037]])
    q = integers(network(readout, Dense(one * steps)))
    assert any("'s0' 0.01 to 0.037" in note for note in q.notes)
    for kept in (network(lif(4, 100.0), Dense(one * steps)), network(readout, Dense(one * 0.01))):
        assert not any("grid" in note for note in integers(kept).notes)
    assert not any("grid" in note for note in integers(network(lif(4), Dense(rng.normal(size=(4, 30))))).notes)


def test_the_remedy_for_grids_works() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.integers(-127, 128, (4, 30)) for _ in range(2))
    floats = network(lif(4, 100.0), Dense(one * 0.037), Dense(other * 0.037 / 4))
    q = integers(floats)
    assert not any("grid" in note for note in q.notes)
    assert np.allclose(real_weights(q, "s1"), other * 0.037 / 4, rtol=1e-9)


@FORMS
def test_rows_of_small_weights_keep_their_resolution(form: Any) -> None:
    """Beside a row of large weights, all rows of a LIF population are rounded by a few percent at most."""
    rng = np.random.default_rng(3)
    weight, threshold = rng.normal(size=(6, 12)), np.ones(6)
    weight[1] *= 300
    floats = network(lif(6, 1.0), form(weight))
    q = integers(floats)
    found = real_weights(q, "s0")
    error = np.linalg.norm(found - weight, axis=1) / np.linalg.norm(weight, axis=1)
    assert error.max() < 0.05
    assert q.synapses["s0"].weight_exp >= 0  # type: ignore[attr-defined]
    vth = q.populations["n"].vth / q.populations["n"].scale / 2.0 ** q.populations["n"].frac_in  # type: ignore[attr-defined]
    assert np.allclose(vth, threshold, atol=np.abs(weight).max(1) / 127)
    run = run_float(floats, spikes(floats))
    recording = reference.run(q, spikes(floats))
    differ = (recording.output != run.output).sum((0, 1))
    assert (differ <= 0.05 * np.maximum(run.output.sum((0, 1)), 20)).all()


def test_like_rows_have_one_factor() -> None:
    weight = np.random.default_rng(4).uniform(0.3, 1.0, (8, 20))
    weight[0, 0] = 1.0
    assert np.ptp(integers(network(lif(8), Dense(weight))).populations["n"].scale) == 0


def test_outputs_that_share_weights_have_one_factor() -> None:
    weight = np.random.default_rng(5).normal(size=(6, 8)) * np.array([[1], [1], [1e-2], [2e-2], [1e-2], [5e-3]])
    synapse = Sparse.from_matrix(weight, scale_group=ScaleGroup(2))
    scale = integers(network(lif(6), synapse)).populations["n"].scale
    assert (scale[::2] == scale[1::2]).all() and scale[2] > scale[0]


def test_a_readout_has_one_factor_so_that_its_values_compare() -> None:
    weight = np.random.default_rng(6).normal(size=(3, 8)) * np.array([[1], [1e-2], [1]])
    assert np.ptp(integers(network(Integrator(np.full(3, 0.9)), Dense(weight))).populations["n"].scale) == 0
