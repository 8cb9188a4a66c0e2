"""Scales as a value: chosen apart from rounding, from a table of named limits, for every family."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from family_examples import examples, inputs, network, quantized
from hypothesis import given
from hypothesis import strategies as st

import nmdeploy
from nmdeploy import pipeline
from nmdeploy.errors import BadOption, DoesNotFit
from nmdeploy.examples import digits
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import Neuron, QuantizationConfig
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.scales import Limit, Scales, binding, tightest
from nmdeploy.quantization.post_training import calibrate, choose_scales, quantize_network
from nmdeploy.synapses.dense import Dense

CONFIG = QuantizationConfig()
EACH = pytest.mark.parametrize("neuron", examples(), ids=lambda neuron: neuron.kind)


def scales_of(floats: Network) -> dict[str, Scales]:
    return choose_scales(floats, CONFIG, calibrate(floats, inputs()))


@EACH
def test_rounding_needs_the_scales_alone(neuron: Neuron) -> None:
    """And the scales, as JSON values and back, give the same integers: no data, no ranges."""
    floats = network(neuron)
    chosen = scales_of(floats)
    stored = {name: Scales.from_json(json.loads(json.dumps(s.to_json()))) for name, s in chosen.items()}
    assert quantize_network(floats, CONFIG, scales=stored) == quantized(neuron)


@EACH
def test_the_integers_carry_their_scales(neuron: Neuron) -> None:
    """The fields of the integer population are the scales that were chosen, those of graded codes too."""
    chosen, made = scales_of(network(neuron))["n"], quantized(neuron).populations["n"]
    held = made.scales
    assert np.array_equal(held.scale, chosen.scale)
    for name, frac in chosen.fracs.items():
        assert np.array_equal(held.fracs.get(name, frac), frac), name
    if made.feeds_synapses:
        assert made.output_frac == chosen.frac_out


@EACH
def test_every_scale_is_the_tightest_line_of_its_table(neuron: Neuron) -> None:
    chosen = scales_of(network(neuron))["n"]
    assert "frac_in" in chosen.limits
    assert chosen.frac_in == tightest(chosen.limits["frac_in"])
    for frac, table in chosen.limits.items():
        names = [limit.name for limit in table]
        assert len(set(names)) == len(names) and all(limit.reason for limit in table)
        assert chosen.reason(frac).startswith(f"{binding(table).name}: ")


@pytest.mark.parametrize("neuron", [n for n in examples() if n.kind in ("lif", "integrator")], ids=lambda n: n.kind)
def test_scales_that_are_given_are_obeyed(neuron: Neuron) -> None:
    floats = network(neuron)
    chosen = scales_of(floats)
    coarser = {"n": replace(chosen["n"], fracs={"frac_in": chosen["n"].frac_in - 1})}
    q = quantize_network(floats, CONFIG, scales=coarser)
    assert q.populations["n"].frac_in == chosen["n"].frac_in - 1
    assert q.synapses["synapse"].weight_exp == quantized(neuron).synapses["synapse"].weight_exp - 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "node 'n': no scales are given for it"),
        (lambda s: s | {"m": s["n"]}, "node 'm': scales are given for it"),
        (lambda s: {"n": replace(s["n"], scale=np.ones(3), drive=np.ones(3))}, "scales for 3 inputs, it has 12"),
    ],
)
def test_scales_of_another_network_are_refused(change: Any, message: str) -> None:
    floats = network(LIF(np.full(12, 0.5), 0.9, 1.0))  # type: ignore[arg-type]
    with pytest.raises(BadOption, match=message):
        quantize_network(floats, CONFIG, scales=change(scales_of(floats)))


def test_scales_without_the_sum_are_refused() -> None:
    with pytest.raises(BadOption, match="frac_in is missing"):
        Scales(np.ones(1), {"frac_x": 3})


def test_a_refusal_names_the_limit_that_bound() -> None:
    nodes: dict[str, Any] = {"i": Input((3,)), "s": Dense(np.ones((2, 3))), "n": LIF(np.full(2, 0.5), 0.9, 1e6)}  # type: ignore[arg-type]
    far = Network(nodes, (Edge("i", "s"), Edge("s", "n")), 1e-3, "n")
    with pytest.raises(
        DoesNotFit, match=r"'s': weight exponent .* by membrane: u and v have 24 bits, one of them headroom"
    ):
        quantize_network(far, CONFIG)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=5), st.lists(st.integers(-40, 40), min_size=3, max_size=3))
def test_the_tightest_is_the_minimum(numbers: list[int], array: list[int]) -> None:
    limits = [Limit(str(index), number, "") for index, number in enumerate(numbers)]
    assert tightest(limits) == min(numbers) == binding(limits).most
    both = tightest([*limits, Limit("array", np.array(array), "")])
    assert both.tolist() == [min(*numbers, value) if len(numbers) > 1 else min(numbers[0], value) for value in array]


def test_the_pipeline_takes_scales() -> None:
    """Quantized with the scales of other data, a network is the one that those data would have given."""
    files = digits()
    floats = pipeline.load(files.checkpoint)
    data = pipeline.load_data(files.calibration, floats.input)
    scales = pipeline.choose_scales(floats, "loihi2", data)
    made = nmdeploy.quantize(floats, "loihi2", scales=scales)
    assert replace(made, notes=()) == replace(nmdeploy.quantize(floats, "loihi2", data), notes=())


def test_calibration_runs_on_the_engine_and_no_weight_error_multiplies_by_an_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The weight error of a wide layer allocates no matrix of its inputs squared."""
    import tracemalloc

    synapse = Dense(np.random.default_rng(0).normal(size=(4, 4096)))
    q = synapse.quantize(np.ones(4), 6, 0, CONFIG)
    tracemalloc.start()
    errors = synapse.row_errors(q, np.ones(4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4096 * 4096
    exact = np.linalg.norm(np.ldexp(q.weight.astype(float), -q.frac) - synapse.weight, axis=1)
    assert np.allclose(errors, exact)


def test_synapses_have_scales_too() -> None:
    """The fraction bits of weights are chosen, given and obeyed as those of populations are."""
    floats = network(LIF(np.full(12, 0.5), 0.9, 1.0))  # type: ignore[arg-type]
    chosen = scales_of(floats)
    own = chosen["synapse"]
    assert own.reason("frac") == "code: a weight has 8 bits"
    coarser = replace(own, fracs={**own.fracs, "frac": int(own.fracs["frac"]) - 1})
    made: Any = quantize_network(floats, CONFIG, scales=chosen | {"synapse": coarser}).synapses["synapse"]
    assert made.frac == own.fracs["frac"] - 1 and np.abs(made.weight).max() <= 64
    other = replace(own, fracs={**own.fracs, "frac_in": own.frac_in + 1})
    with pytest.raises(BadOption, match=r"node 'synapse': its scales give its sums .* choose its scales again"):
        quantize_network(floats, CONFIG, scales=chosen | {"synapse": other})
