"""Where a bound sits exactly at a limit: which arithmetic is picked, and that inputs that reach the bound agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_analysis import proved, reaching
from equal_runs import both, random_codes
from formula_neuron import Formula, FormulaNeuron
from networks_build import Case

from nmdeploy.engine import machine
from nmdeploy.engine.planning import program
from nmdeploy.engine.program import Program
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network import Edge, Input, QuantizedNetwork
from nmdeploy.neurons.base import Moment, Registers
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.ops import saturate, wrap24
from nmdeploy.synapses.dense import QuantizedDense

WRAP, HALF, WORD, EXACT = 1 << 23, 1 << 15, 1 << 31, 1 << 53


def agreeing(case: Case) -> Program:
    """The program of a case, whose runs agree."""
    both(case.network, case.inputs)
    return program(case.network, "states")


def formulas(**found: Formula) -> FormulaNeuron:
    """One neuron with one sum, which its formulas see as ``e.a``."""
    return FormulaNeuron(1, 1, found, inputs=1)


# -- wrap24 and saturate


@pytest.mark.parametrize(
    ("reached", "never"),
    [(WRAP - 1, True), (WRAP, True), (WRAP + 1, False), (1 - WRAP, True), (-WRAP, False), (-WRAP - 1, False)],
)
def test_wrap24_at_its_ends(reached: int, never: bool) -> None:
    case = reaching(formulas(u=lambda e: wrap24(e.a)[0], wraps=lambda e: wrap24(e.a)[1]), [reached])
    agreeing(case)
    found = proved(case.network, "n")
    assert (found.simple.recorded["wraps"].node.op == "const") == never
    assert found.of("u").magnitude <= WRAP


@pytest.mark.parametrize("limit", [WRAP - 1, WORD - 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_saturate_at_its_ends(limit: int, sign: int, beyond: int) -> None:
    neuron = formulas(v=lambda e: saturate(e.a, limit)[0], clips=lambda e: saturate(e.a, limit)[1])
    case = reaching(neuron, [sign * (limit + beyond)])
    agreeing(case)
    found = proved(case.network, "n")
    assert (found.simple.recorded["clips"].node.op == "const") == (beyond <= 0)
    assert found.of("v").magnitude == limit + min(beyond, 0)


@pytest.mark.parametrize(
    ("a", "never"),
    [((1 << 17) - 1, True), (1 << 17, True), ((1 << 17) + 1, False), (1 - (1 << 17), True), (-1 << 17, False)],
)
def test_the_current_of_lif_at_its_wrap(a: int, never: bool) -> None:
    neuron = QuantizedLIF(du=4095, dv=4095, vth=VTH_MAX, bias_mant=np.zeros(1, int), bias_exp=0)
    case = reaching(neuron, [a])
    agreeing(case)
    assert proved(case.network, "n").never("u_wraps") == never


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_membrane_of_lif_at_its_clip(sign: int, beyond: int) -> None:
    bias, wanted = sign * 63, sign * (WRAP - 1 + beyond)
    a = (wanted - bias) // 64
    bias = wanted - 64 * a
    neuron = QuantizedLIF(du=4095, dv=4095, vth=VTH_MAX, bias_mant=np.array([bias]), bias_exp=0)
    case = reaching(neuron, [a], [1, 0, 0, 1, 1, 0, 1, 1])
    both(case.network, case.inputs)
    assert proved(case.network, "n").bounds is not None


@pytest.mark.parametrize("a", [126, 127, 128, -126, -127, -128])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_integrator_that_forgets_at_its_limit(a: int, bits: int) -> None:
    reached = a if bits == 8 else (abs(a) - 127 + HALF - 1) * (1 if a > 0 else -1)
    case = reaching(QuantizedIntegrator(4096, np.array([0]), bits), [reached])
    agreeing(case)
    assert proved(case.network, "n").never("v_saturations") == (abs(a) <= 127)


# -- widths of sums


def summed(total: int, channels: int, form: FixedPoint) -> Case:
    """One neuron whose sum is `total` at most, reached where all channels send their largest code."""
    most = form.max
    size, sign = abs(total) // most, 1 if total > 0 else -1
    assert abs(total) == size * most
    weight = np.full(channels, sign * (size // channels))
    weight[: size - size // channels * channels] += sign
    mode = "excitatory" if sign > 0 else "mixed"
    weights = np.stack([weight, -weight // 2 if mode == "mixed" else weight // 2])
    nodes: dict[str, Any] = {
        "input": Input((channels,), form),
        "s": QuantizedDense(weights, 8, 0, mode),
        "n": FormulaNeuron(2, 1, {"a": lambda e: e.a * 1}, inputs=1),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    codes = np.maximum(random_codes(network, 0, 2, 20, 0.9), 0)
    codes[:, 3] = most
    return Case(f"{total}", network, codes)


@pytest.mark.parametrize(
    ("total", "bits"),
    [(HALF - 1, 16), (HALF, 32), (HALF + 1, 32), (1 - HALF, 16), (-HALF, 16), (-HALF - 1, 32)],
)
def test_widths_of_sums(total: int, bits: int) -> None:
    case = summed(total, 300, FixedPoint(1, 0, signed=False))
    assert agreeing(case).synapses["s"].form.sum_bits == bits


@pytest.mark.parametrize(("total", "bits"), [(HALF - 1, 16), (HALF - 1 + 7, 32), (-HALF + 1, 16), (-HALF - 6, 32)])
def test_widths_of_sums_of_codes(total: int, bits: int) -> None:
    case = summed(total, 60, FixedPoint(3, 0, signed=False))
    assert agreeing(case).synapses["s"].form.sum_bits == bits


@pytest.mark.parametrize("code", [127, -128])
def test_codes_of_both_signs_on_weights_of_both_signs(code: int) -> None:
    """The largest sum is that of the least codes on the least weights."""
    nodes = {
        "input": Input((3,), FixedPoint(8)),
        "s": QuantizedDense(np.array([[-128, -127, 0], [127, -128, 127], [-128, -128, 0], [-128, 0, 0]])),
        "n": FormulaNeuron(4, 1, {"a": lambda e: e.a * 1}, inputs=1),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    assert agreeing(Case("", network, np.full((1, 5, 3), code))).synapses["s"].form.sum_bits == 32
    assert proved(network, "n").of("a").high.reshape(-1).tolist() == [32640, 48642, 32768, 16384]


@pytest.mark.parametrize("neurons", [64, 128, 192, 512, 576, 1088])
def test_rows_of_bytes_that_are_added_in_pairs(neurons: int) -> None:
    """Pairs of the least and of the largest weights, in every column; lists of 0 to 255 events."""
    rng = np.random.default_rng(neurons)
    weights = rng.choice([-128, -127, -1, 0, 1, 127], (neurons, 255))
    weights[::3] = np.where(np.arange(255) % 2, 127, -128)
    nodes: dict[str, Any] = {
        "input": Input((255,), FixedPoint(1, 0, signed=False)),
        "s": QuantizedDense(weights),
        "n": FormulaNeuron(neurons, 1, {"a": lambda e: e.a * 1}, inputs=1),
    }
    network = QuantizedNetwork(nodes, (Edge("input", "s"), Edge("s", "n")), 1e-3, "n")
    codes = (rng.random((1, 24, 255)) < np.linspace(0, 1, 24)[:, None]).astype(np.int64)
    assert agreeing(Case("", network, codes)).synapses["s"].form.paired == machine.has("avx512bw")


# -- lanes of 53 bits, traces of 32


def register_kind(made: Program) -> str:
    """Of the first formula's value: f for float64 lanes, i for int64."""
    return str(made.populations["n"].layout.registers[2].kind)


@pytest.mark.parametrize("beyond", [-2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_53_bits(sign: int, beyond: int) -> None:
    """Sums that float64 would round: the last odd number that it holds is below 2**53."""

    def near(e: Any) -> Any:
        return (e.a << 22) + np.where(e.a == 0, 0, sign * (EXACT // 2 + beyond))

    case = reaching(formulas(r=near), [sign * (1 << 30)])
    assert register_kind(agreeing(case)) == ("f" if beyond < 0 else "i")


@pytest.mark.parametrize("beyond", [-1, 0, 1, 3])
def test_constants_at_53_bits(beyond: int) -> None:
    both_ways = {
        "literal": lambda e: e.a + (EXACT + beyond),
        "parameter": lambda e: e.a - (e.z * 0 + EXACT + beyond),
        "compared": lambda e: (e.a << 23) + 1 > EXACT + beyond,
        "equal": lambda e: (e.a << 23) + 1 == EXACT + beyond,
        "product": lambda e: e.a * ((1 << 23) + beyond),
    }
    agreeing(reaching(formulas(**both_ways), [1 << 30]))


def test_products_of_float64_that_only_their_sum_keeps_small() -> None:
    """A difference of two products beyond 53 bits is small, and exact."""
    large = {"r": lambda e: (e.a * 123456789 + 1) * 3 - e.a * 370370367, "s": lambda e: (e.a << 25) + 1 - (e.a << 25)}
    agreeing(reaching(formulas(**large), [1 << 30]))


@pytest.mark.parametrize(("most", "bits"), [(WORD - 1, 32), (WORD, 64), (WORD + 1, 64), (-WORD, 64), (1 - WORD, 32)])
def test_traces_at_32_bits(most: int, bits: int) -> None:
    half = abs(most) // 2

    def reach(e: Any) -> Any:
        return np.where(e.a == 0, 0, e.a * 2 + (1 if most > 0 else -1) * (abs(most) - 2 * half))

    case = reaching(formulas(r=reach), [half if most > 0 else -half])
    made = agreeing(case)
    found = {name: width for name, _, width in made.populations["n"].layout.traces}
    assert found["r"] == bits


@pytest.mark.parametrize("shift", [31, 32])
def test_values_up_to_63_bits(shift: int) -> None:
    agreeing(reaching(formulas(r=lambda e: (e.a << shift) - 1, s=lambda e: (e.a << shift) >> 3), [(1 << 30) - 1]))
    agreeing(reaching(formulas(r=lambda e: (e.a << shift) + 1), [1 - (1 << 30)]))


@pytest.mark.parametrize("a", [(1 << 25) - 1, 1 << 25, (1 << 25) + 1, 1 - (1 << 25), -1 << 25, -(1 << 25) - 1])
def test_shifted_sums_at_32_bits(a: int) -> None:
    agreeing(reaching(formulas(r=lambda e: e.a << 6, s=lambda e: (e.a << 6) - 5, t=lambda e: (e.a << 6) >> 9), [a]))


class Sent(FormulaNeuron):
    """Sends what its first formula gives, as a readout does."""

    spiking = False

    @property
    def output_max(self) -> int:
        return WORD - 1

    def advance(self, registers: Registers, a: Any, now: Moment) -> tuple[Registers, Any, list[Any]]:
        after, _, clipped = super().advance(registers, a, now)
        return after, after[1][1], clipped


@pytest.mark.parametrize("most", [WORD - 1, 1 - WORD, -WORD])
def test_outputs_of_32_bits(most: int) -> None:
    half = abs(most) // 2
    odd = (1 if most > 0 else -1) * (abs(most) - 2 * half)
    neuron = Sent(1, 1, {"r": lambda e: np.where(e.a[..., 0] == 0, 0, e.a[..., 0] * 2 + odd)}, inputs=1)
    agreeing(reaching(neuron, [half if most > 0 else -half]))
