"""Families say what they send; nothing is guessed for one that does not."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from family_examples import examples, inputs, quantized

from nmdeploy.backends.reference import run
from nmdeploy.errors import BadOption
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import Neuron, QuantizedNeuron
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.synapses.base import QuantizedSynapse
from nmdeploy.synapses.dense import QuantizedDense


class _Signed(QuantizedNeuron):
    """LIF neurons that also send -1, below the negative threshold; what they emit is for a subclass to say."""

    state_registers = ("u", "v")
    neuron_registers = ("refractory",)
    recorded = ("u", "v")
    flags = ("u_wraps", "v_saturations")
    state_bits = 24
    frac_in = 0

    def __init__(self, size: int = 3) -> None:
        self.lif = QuantizedLIF(np.full(size, 4095), 409, 10, 0, 0)

    size = property(lambda self: self.lif.size)
    scale = property(lambda self: self.lif.scale)
    footprint_bits = property(lambda self: self.lif.footprint_bits)

    def check_overflow(self, name: str, a_max: Any) -> None:
        self.lif.check_overflow(name, a_max)

    def dequantize_state(self, state: str, values: Any) -> Any:
        return self.lif.dequantize_state(state, values)

    def advance(self, registers: Any, a: Any, now: Any) -> Any:
        registers, s, flags = self.lif.advance(registers, a, now)
        return registers, s * 1 - (registers[0][1][..., 0] < -640), flags


def binary_chip(kind: str) -> HardwareProfile:
    """Loihi 1, whose events are spikes without a payload, with one more family that it runs."""
    loihi = load_profile("loihi1")
    assert loihi.arithmetic.graded_payload_bits.value == 0
    return replace(loihi, neurons=dict(loihi.neurons) | {kind: loihi.neurons["lif"]})


def two_layers(neuron: QuantizedNeuron) -> QuantizedNetwork:
    weight = np.array([[12, -12, 0], [-12, 12, 3], [5, 5, -20]])
    nodes = {"input": Input((3,)), "s1": QuantizedDense(weight), "n1": neuron, "s2": QuantizedDense(weight)}
    edges = (Edge("input", "s1"), Edge("s1", "n1"), Edge("n1", "s2"), Edge("s2", "n2"))
    return QuantizedNetwork(nodes | {"n2": QuantizedLIF(np.full(3, 4095), 409, 10, 0, 0)}, edges, 0.001, "n2")


def test_a_family_that_sends_a_sign_and_does_not_say_so_is_refused_when_it_is_defined() -> None:
    with pytest.raises(BadOption, match=r"^family 'signed_lif' \(.*Undeclared\) does not declare 'emits': .*'signed'"):

        class Undeclared(_Signed):
            kind = "signed_lif"


def test_a_family_that_says_that_it_sends_a_sign_is_refused_on_a_binary_chip() -> None:
    class SignedLIF(_Signed):
        kind = "signed_lif"
        emits = "signed"

    network = two_layers(SignedLIF())
    spikes = run(network, np.random.default_rng(0).integers(0, 2, (4, 20, 3)), trace="spikes").layers["n1"].spikes
    assert spikes is not None and set(np.unique(spikes)) == {-1, 0, 1}
    problems = map_network(network, binary_chip("signed_lif")).problems
    assert len(problems) == 1 and "its source 'n1' sends graded values of 2 bits" in problems[0], problems
    assert not map_network(two_layers(network.populations["n2"]), load_profile("loihi1")).problems


def test_float_families_and_synapses_must_declare_too() -> None:
    with pytest.raises(BadOption, match=r"family 'silent' .* does not declare 'emits'"):

        class Float(Neuron):
            kind = "silent"

    with pytest.raises(BadOption, match=r"family 'wide' .* does not declare 'bits'"):

        class Synapses(QuantizedSynapse):
            kind = "wide"


def test_a_base_of_families_and_a_family_with_a_field_or_a_property_are_accepted() -> None:
    class Base(QuantizedNeuron):
        """A base has no kind, and need not know what its families send."""

    class Property(Base):
        kind = "by_property"
        emits = property(lambda self: "binary")

    @dataclass(frozen=True, eq=False)
    class Field(QuantizedSynapse):
        bits: int

        kind: ClassVar[str] = "by_field"

    assert [f.name for f in fields(Field)] == ["bits"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"emits": "ternary"}, r"^node 'n1': family 'wrong' emits 'ternary': declare one of \('binary', 'signed'"),
        ({"emits": "binary", "output_max": 7}, "^node 'n1': family 'wrong' emits 'binary' spikes and codes up to 7"),
    ],
)
def test_a_declaration_that_cannot_be_true_is_refused_in_a_network(declared: dict[str, Any], message: str) -> None:
    wrong = type("Wrong", (_Signed,), {"kind": "wrong"} | declared)
    with pytest.raises(BadOption, match=message):
        two_layers(wrong())


def test_codes_have_the_width_of_a_state_unless_a_family_says_more() -> None:
    graded = type("Graded", (_Signed,), {"kind": "graded_lif", "emits": "graded"})()
    assert (graded.output_max, graded.output_frac, graded.spiking) == ((1 << 23) - 1, graded.frac_in, True)
    values = type("Values", (_Signed,), {"kind": "value_lif", "emits": "values"})()
    assert not values.spiking and not values.feeds_synapses


@pytest.mark.parametrize("neuron", examples(), ids=lambda n: n.kind)
def test_every_family_sends_what_it_declares(neuron: Neuron) -> None:
    network = quantized(neuron)
    population = network.populations["n"]
    assert (population.emits, population.inputs, population.outputs) == (neuron.emits, neuron.inputs, neuron.outputs)
    sent = run(network, inputs(), trace="spikes").output
    assert sent.shape[2] == population.output_size == population.size * population.outputs
    assert (sent.dtype == bool) == (population.emits == "binary")
    assert np.abs(sent.astype(np.int64)).max() <= population.output_max
    if population.emits == "signed":
        assert set(np.unique(sent)) == {-1, 0, 1}
