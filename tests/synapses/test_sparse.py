"""Sparse synapses: the same integers as dense ones, from matrices of any form, in memory of what is not zero."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from equal_runs import both, differences, random_codes
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks_build import random_case, sparse_of
from networks_neurons import LIF, STATE_SPACE
from networks_wired import looped, summed, two_way

from nmdeploy import nir_io
from nmdeploy.backends import compiled, reference
from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.llvm.rows import forms_to_try
from nmdeploy.engine.run import rows_choice
from nmdeploy.engine.run.rows_choice import RowsChoice
from nmdeploy.engine.run.runner import Engine
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.float_run import run_float
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.neurons.lif import LIF as FloatLIF
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.neurons.state_space import diagonal
from nmdeploy.quantization.post_training import calibrate, quantize_network
from nmdeploy.synapses.dense import SIGN_MODES, Dense, QuantizedDense
from nmdeploy.synapses.scale_group import PER_POPULATION, PER_ROW, ScaleGroup
from nmdeploy.synapses.sparse import SPARSE_SHARE, SPARSE_WEIGHTS_MIN, QuantizedSparse, Sparse, weights_of


def matrix(seed: int, outputs: int = 9, inputs: int = 7, density: float = 0.3) -> Any:
    """Weights (outputs, inputs) of both signs, most of them 0."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(outputs, inputs)) * (rng.random((outputs, inputs)) < density)


def csr(dense: Any) -> SimpleNamespace:
    """What scipy.sparse.csr_matrix has, without scipy."""
    outputs, inputs = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(outputs, minlength=len(dense)))])
    return SimpleNamespace(indptr=indptr, indices=inputs, data=dense[outputs, inputs], shape=dense.shape)


def dense_twin(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with every sparse synapse dense."""
    return twin(network, lambda s: s if s.kind == "dense" else dense_of(s))


def sparse_twin(network: QuantizedNetwork) -> QuantizedNetwork:
    """The network with every dense synapse sparse."""
    return twin(network, lambda s: s if s.kind == "sparse" else sparse_of(s))


def twin(network: QuantizedNetwork, changed: Any) -> QuantizedNetwork:
    """The network with its synapses changed."""
    return replace(network, nodes={**network.nodes, **{n: changed(s) for n, s in network.synapses.items()}})


def dense_of(s: Any) -> QuantizedDense:
    """The same weights, zeros included."""
    weight = np.asarray(s.rows.matrix(np.asarray))
    return QuantizedDense(weight, s.bits, s.frac, s.sign_mode, s.weight_exp, s.bias, s.bias_frac, s.bias_exp)


@settings(max_examples=100, deadline=None)
@given(
    weight=st.lists(st.lists(st.integers(-128, 127) | st.just(0), min_size=3, max_size=3), min_size=1, max_size=4),
    s=st.lists(st.integers(-9, 7), min_size=3, max_size=3),
    exponent=st.integers(-8, 12),
    bias=st.integers(-128, 127),
)
def test_sums_in_integers_without_limit(weight: list[list[int]], s: list[int], exponent: int, bias: int) -> None:
    made = sparse_of(QuantizedDense(weight, weight_exp=exponent, bias=[bias] * len(weight), bias_exp=2))
    exact = [sum(w * x for w, x in zip(row, s, strict=True)) for row in weight]
    wanted = [(x << exponent if exponent >= 0 else x >> -exponent) + (bias << 2) for x in exact]
    assert made.apply(np.array([s], np.int64))[0].tolist() == made.apply(np.array([s], object))[0].tolist() == wanted
    assert (np.abs(wanted) <= made.a_max(9)).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(SIGN_MODES), bits=st.integers(1, 8), biased=st.booleans())
def test_quantized_as_dense_ones(seed: int, mode: str, bits: int, biased: bool) -> None:
    """All that is asked of synapses, but their memory."""
    weight = {"mixed": matrix(seed), "excitatory": abs(matrix(seed)), "inhibitory": -abs(matrix(seed))}[mode]
    rng = np.random.default_rng(seed)
    bias = rng.normal(size=9) if biased else None
    config, scale = QuantizationConfig(weight_bits=bits, sign_modes=SIGN_MODES), rng.uniform(0.5, 1, 9)
    floats = Dense(weight, bias), Sparse.from_matrix(weight, bias)
    assert floats[0].frac_max(scale, 3, config) == floats[1].frac_max(scale, 3, config)
    for name in ("row_magnitudes", "shape", "scale_group"):
        a, b = (getattr(each, name) for each in floats)
        assert np.array_equal(a() if callable(a) else a, b() if callable(b) else b), name
    np.testing.assert_allclose(floats[0].a_max(2.0), floats[1].a_max(2.0), rtol=1e-12)
    dense, sparse = (each.quantize(scale, 9, 0, config) for each in floats)
    assert isinstance(sparse, QuantizedSparse) and sparse == sparse_of(dense)  # type: ignore[arg-type]
    assert dense.synapse_count == sparse.synapse_count and dense.chip_exponents == sparse.chip_exponents
    assert (dense.fan_out == sparse.fan_out).all() and (dense.a_max(5) == sparse.a_max(5)).all()
    for first, last in ((0, 9), (2, 5), (4, 4)):
        assert (dense.inputs_met(first, last) == sparse.inputs_met(first, last)).all()
    assert sum(sparse.footprint_between(i, i + 1) for i in range(9)) == sparse.footprint_bits
    biases = 0 if sparse.bias is None else 9 * bits
    assert sparse.footprint_bits == np.count_nonzero(dense.rows.codes) * (bits + 4) + biases


def test_row_errors_are_what_rounding_changed() -> None:
    weight, bias, scale = matrix(3), np.linspace(-1, 1, 9), np.linspace(0.5, 1, 9)
    floats = Sparse.from_matrix(weight, bias)
    q = floats.quantize(scale, 9, 0, QuantizationConfig(weight_bits=4))
    parts = [np.column_stack([weight, bias])]
    parts += [
        np.column_stack(
            [q.dequantize(np.eye(7)).T - q.dequantize(np.zeros((1, 7))).T, q.dequantize(np.zeros((1, 7))).T]
        )
    ]
    np.testing.assert_allclose(floats.row_norms(), np.linalg.norm(parts[0], axis=1))
    np.testing.assert_allclose(
        floats.row_errors(q, scale), np.linalg.norm(parts[1] / scale[:, None] - parts[0], axis=1)
    )  # type: ignore[arg-type]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), family=st.sampled_from([LIF, STATE_SPACE]))
def test_random_networks_equal_their_dense_twins(seed: int, family: Any) -> None:
    """Recurrent ones, biases, several inputs and outputs a neuron: every value and count, in each form of rows."""
    case = random_case(seed, family, steps=25)
    assume(_sums_have_an_order(case.network))
    _all_equal(case.network, case.inputs)


@pytest.mark.parametrize("family", [LIF, STATE_SPACE], ids=["lif", "state_space"])
@pytest.mark.parametrize("seed", range(3))
def test_three_random_networks_equal_their_dense_twins(seed: int, family: Any) -> None:
    case = random_case(seed, family, steps=25)
    _all_equal(case.network, case.inputs)


def _sums_have_an_order(network: QuantizedNetwork) -> bool:
    """Return True if the sources of each synapse send equally many values per neuron; the engine refuses others."""
    outputs = {name: neuron.output_size // neuron.size for name, neuron in network.populations.items()}
    return all(len({outputs.get(e.source, 1) for e in network.incoming[name]}) == 1 for name in network.synapses)


@pytest.mark.parametrize(
    "network",
    [two_way(1), summed(2, ["lif", "graded"], FixedPoint(4)), looped(3, "graded", 2), looped(4, "ternary", 3)],
    ids=["two_way", "summed", "graded", "ternary"],
)
def test_wired_networks_equal_their_dense_twins(network: QuantizedNetwork) -> None:
    """Delays, graded codes, sums of several sources, several outputs a neuron."""
    _all_equal(network, random_codes(network, 1, 3, 40))


def _all_equal(network: QuantizedNetwork, codes: Any) -> None:
    dense, sparse = dense_twin(network), sparse_twin(network)
    expected = reference.run(dense, codes, trace="states")
    found = [reference.run(sparse, codes, trace="states")]
    for q, forms in ((sparse, ("dense",)), (sparse, ("sparse",)), (dense, ("sparse",))):
        vars(q)["_engines"] = {"states": Engine(compile_network(q, "states", forms))}
        found.append(compiled.run(q, codes, trace="states"))
    expected = replace(expected, backend="", version="")
    for recording in found:
        assert not differences(expected, recording)
    both(network, codes)


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_written_and_read(tmp_path: Path, density: float) -> None:
    """No entry at all, some, every one; the primitives are those of dense synapses."""
    weight = matrix(5, 12, 10, density)
    floats = {"dense": Dense(weight), "sparse": Sparse.from_matrix(weight, np.ones(12))}
    q = _quantized(floats["sparse"])
    nir_io.write(q, tmp_path / "m.nir")
    assert nir_io.read(tmp_path / "m.nir") == q
    nir_io.check_primitives(tmp_path / "m.nir")
    import nir

    node = nir.read(tmp_path / "m.nir").nodes["s"]
    synapse: Any = q.synapses["s"]
    wanted = np.ldexp(synapse.rows.matrix(np.asarray).astype(float), synapse.weight_exp - q.populations["n"].frac_in)
    assert np.array_equal(node.weight, wanted) and node.bias.shape == (12,)


def _quantized(synapse: Any, neuron: Any = None) -> QuantizedNetwork:
    size, channels = synapse.shape
    lif = FloatLIF(alpha=np.zeros(size), beta=np.full(size, 0.9), v_threshold=np.ones(size))
    nodes = {"input": Input((channels,)), "s": synapse, "n": neuron or lif}
    network = Network(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    inputs = (np.random.default_rng(0).random((4, 20, channels)) < 0.3).astype(np.int64)
    q = quantize_network(network, QuantizationConfig(), ranges=calibrate(network, inputs))
    assert run_float(network, inputs).output.shape == reference.run(q, inputs).output.shape
    return q


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": [3, 0]}, "1 codes are 0, limit 0"),
        ({"codes": [3, 200]}, "exceed -128 to 127"),
        ({"targets": [0, 2]}, "targets 0 to 2: give 0 to 1"),
        ({"targets": [1, 1], "offsets": [0, 2, 2]}, "do not ascend"),
        ({"offsets": [0, 1, 3]}, "2 targets and 2 codes, 3 are announced"),
        ({"offsets": [1, 1, 2]}, "no ascending list from 0"),
        ({"bits": 9}, "9 weight bits"),
    ],
)
def test_what_describes_no_rows_is_refused(changes: dict[str, Any], message: str) -> None:
    given = {"offsets": [0, 1, 2], "targets": [0, 1], "codes": [3, 4], "outputs": 2} | changes
    with pytest.raises(BadOption, match=message):
        QuantizedSparse(**given)


def test_a_damaged_file_names_the_node(tmp_path: Path) -> None:
    q = _quantized(Sparse.from_matrix(matrix(1)))
    values, arrays = nir_io.model.model_content(q)
    held = {"model": values, "nodes": {**arrays, "s": {**arrays["s"], "targets": arrays["s"]["targets"] + 99}}}
    with pytest.raises(BadFile):
        nir_io.model.network_of("m.nir", nir_io.model.parse("m.nir", held))


# Matrices.


def test_matrices_of_scipy_are_known_by_their_fields() -> None:
    dense = matrix(2)
    wanted = Sparse.from_matrix(dense)
    assert Sparse.from_matrix(csr(dense)) == wanted
    by_column = SimpleNamespace(tocsr=lambda: csr(dense))  # every other form of scipy has this
    assert Sparse.from_matrix(by_column) == weights_of(by_column) == wanted
    assert wanted.rows.matrix(np.asarray).tolist() == dense.tolist()


def test_scipy_itself() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = matrix(2)
    for make in (sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix, sparse.bsr_array, sparse.dok_matrix):
        assert Sparse.from_matrix(make(dense)) == Sparse.from_matrix(dense), make


def test_entries_that_occur_twice_are_added() -> None:
    twice = SimpleNamespace(
        indptr=np.array([0, 4]), indices=np.array([2, 0, 2, 1]), data=np.array([1.0, 2, 3, 0]), shape=(1, 3)
    )
    assert Sparse.from_matrix(twice) == Sparse.from_matrix(np.array([[2.0, 0, 4]]))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("indptr", np.array([0, 1]), "do not make"), ("indices", np.full(2, 9), "give 0 to 2")],
)
def test_fields_that_make_no_matrix_are_refused(field: str, value: Any, message: str) -> None:
    given = csr(np.array([[1.0, 0, 0], [0, 2, 0]]))
    setattr(given, field, value)
    with pytest.raises(BadOption, match=message):
        Sparse.from_matrix(given)


def test_the_smaller_form_is_chosen() -> None:
    side = int(SPARSE_WEIGHTS_MIN**0.5)
    few = np.zeros((side, side))
    few.flat[: int(SPARSE_SHARE * few.size)] = 1
    assert weights_of(few).kind == "sparse"
    few.flat[-1] = 1
    assert weights_of(few).kind == "dense"
    assert weights_of(np.eye(side - 1)).kind == "dense"
    assert weights_of(csr(np.ones((2, 2)))).kind == "sparse"


# Scales.


def test_weights_that_outputs_share_get_one_scale() -> None:
    """A convolution as a matrix: per channel its two kernels stay the same code in every row, per row they do not."""
    kernel = np.array([0.9, -0.31, 0.57])
    rows = [np.roll(np.pad(part * kernel, (0, 4)), shift) for part in (1.0, 0.113) for shift in range(5)]
    weight = np.array(rows)
    weight[0, 6] = 1.7  # one row of the first channel has a larger weight of its own
    codes = {}
    for name, group in {"row": PER_ROW, "channel": ScaleGroup(5), "population": PER_POPULATION}.items():
        q = _quantized(Sparse.from_matrix(weight, scale_group=group), diagonal.examples(10)[0])
        found = q.synapses["s"].rows.matrix(np.asarray)
        codes[name] = [
            len({tuple(np.roll(row, -i)[:3]) for i, row in enumerate(part)}) for part in (found[:5], found[5:])
        ]
        codes[name] += [int(np.abs(found[5:]).max())]
    assert codes["row"][0] > 1
    assert codes["channel"][:2] == codes["population"][:2] == [1, 1]
    assert codes["channel"][2] > 64 > codes["population"][2]


def test_a_group_that_does_not_divide_the_outputs_is_refused() -> None:
    with pytest.raises(BadOption, match="scale group of 4 outputs: 9 outputs are no multiple"):
        _quantized(Sparse.from_matrix(matrix(1), scale_group=ScaleGroup(4)))


# The engine's choice.


class Timed(RowsChoice):
    """Programs take as long as is told of their form."""

    sparse, dense = 1.0, 1.0

    def seconds(self, programs: Any, some: Any) -> list[float]:
        return [self.sparse if program.synapses["s"].form.sparse else self.dense for program in programs]


@pytest.mark.parametrize(("sparse", "form"), [(0.9, True), (0.97, False), (1.1, False)])
def test_the_faster_form_is_taken_once_a_job_takes_long(monkeypatch: Any, sparse: float, form: bool) -> None:
    monkeypatch.setattr(rows_choice, "TRIAL_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(rows_choice, "seconds_of", lambda run: 0.3)
    q = _quantized(Sparse.from_matrix(matrix(0, 64, 64, 0.1)))
    made = compile_network(q)
    assert list(made.alternatives) == ["s"] and not made.synapses["s"].form.sparse
    choice = Timed(made, lambda program, codes: lambda: None)
    choice.sparse = sparse
    codes = np.ones((1, 5, 64), np.uint8)
    assert [choice.choose(codes) for _ in range(3)] == [None] * 3
    found = choice.choose(codes)
    assert found is not None and found.synapses["s"].form.sparse is form and not found.alternatives
    assert choice.choose(codes) is None


def test_runs_before_and_after_the_choice_agree(monkeypatch: Any) -> None:
    monkeypatch.setattr(rows_choice, "TRIAL_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(rows_choice, "GAIN", 1e9)
    q = _quantized(Sparse.from_matrix(matrix(0, 64, 64, 0.1)))
    codes = random_codes(q, 0, 3, 20)
    recording, _ = both(q, codes)
    assert compiled.engine(q, "states").program.synapses["s"].form.sparse and recording.output.any()
    assert not differences(recording, replace(compiled.run(q, codes, trace="states"), backend="", version=""))


@pytest.mark.parametrize("columns", [64, 512, 8192])
def test_only_one_form_is_planned_where_the_other_is_surely_slower(columns: int) -> None:
    forms = [forms_to_try(columns, fan_out) for fan_out in range(1, columns, max(1, columns // 256))]
    assert forms == sorted(forms, key=[("sparse",), ("sparse", "dense"), ("dense", "sparse"), ("dense",)].index)
    assert forms[-1] == ("dense",) and (columns < 512 or forms[0] == ("sparse",))


# Memory.

SIDE, MEGABYTES = 8192, 96


def large() -> SimpleNamespace:
    """8,192 x 8,192 weights, 99 % of them 0, as a compressed matrix; a dense one would take 512 MB."""
    rng, fan = np.random.default_rng(0), SIDE // 100
    indices = np.sort((rng.integers(0, SIDE, (SIDE, 1)) + np.arange(fan) * (SIDE // fan)) % SIDE, 1).ravel()
    return SimpleNamespace(
        indptr=np.arange(SIDE + 1) * fan, indices=indices, data=rng.normal(size=indices.size), shape=(SIDE, SIDE)
    )


def test_memory_is_that_of_what_is_not_zero() -> None:
    tracemalloc.start()
    try:
        q = _quantized_large(Sparse.from_matrix(large()))
        codes = (np.random.default_rng(1).random((2, 5, SIDE)) < 0.05).astype(np.uint8)
        expected = reference.run(q, codes.astype(np.int64))
        assert not differences(expected, compiled.run(q, codes))
        assert q.synapses["s"].footprint_bits == (8 + 13) * q.synapses["s"].synapse_count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected.output.any() and peak < MEGABYTES << 20, f"{peak / 2**20:.0f} MB"


def _quantized_large(synapse: Sparse) -> QuantizedNetwork:
    config = QuantizationConfig()
    made = synapse.quantize(np.full(SIDE, 0.2), 8, 0, config)
    zeros = np.zeros(SIDE, np.int64)
    nodes = {"input": Input((SIDE,)), "s": made, "n": QuantizedLIF(zeros + 1024, zeros + 256, zeros + 60, zeros, zeros)}
    return QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
