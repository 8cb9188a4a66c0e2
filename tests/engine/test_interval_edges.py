"""Where a bound sits exactly at a limit: which arithmetic is picked, and that inputs that reach the bound agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_analysis import agreeing, proved, reaching
from equal_runs import both
from formula_neuron import Formula, FormulaNeuron
from networks_build import Case

from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.neurons.base import Registers, StepTime
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.ops import saturate, wrap24

WRAP, HALF, WORD, EXACT = 1 << 23, 1 << 15, 1 << 31, 1 << 53


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


# -- lanes of 53 bits, traces of 32


def register_lane(made: Program) -> Lane:
    """Return the lane of the first formula's value."""
    return made.populations["n"].layout.registers[2].lane


@pytest.mark.parametrize("beyond", [-2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_53_bits(sign: int, beyond: int) -> None:
    """Sums that float64 would round: the last odd number that it holds is below 2**53."""

    def near(e: Any) -> Any:
        return (e.a << 22) + np.where(e.a == 0, 0, sign * (EXACT // 2 + beyond))

    case = reaching(formulas(r=near), [sign * (1 << 30)])
    assert register_lane(agreeing(case)) == (Lane.F64 if beyond < 0 else Lane.I64)


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


@pytest.mark.parametrize(("a", "shift"), [((1 << 30) - 1, 33), (-(1 << 30), 32), (1 - (1 << 30), 33)])
def test_values_just_below_63_bits(a: int, shift: int) -> None:
    agreeing(reaching(formulas(r=lambda e: e.a << shift, s=lambda e: (e.a << shift) >> 31), [a]))


@pytest.mark.parametrize(("a", "shift"), [(1 << 30, 33), (-(1 << 30), 33), (1 << 30, 34)])
def test_values_at_63_bits_are_refused(a: int, shift: int) -> None:
    """2**63 is beyond int64; of -2**63, which is not, there is no magnitude."""
    with pytest.raises(NotTraceable, match="64 bits"):
        compile_network(reaching(formulas(r=lambda e: e.a << shift), [a]).network, "states")


@pytest.mark.parametrize("by", [62, 63, 64])
def test_shifts_by_as_many_bits_as_there_are(by: int) -> None:
    case = reaching(formulas(r=lambda e: (e.a * -3) >> e.a, s=lambda e: 1 >> e.a), [by])
    if by > 63:
        with pytest.raises(NotTraceable, match="63 bits"):
            compile_network(case.network, "states")
    else:
        agreeing(case)


@pytest.mark.parametrize("weight", [[EXACT - 2, 1, 3 - EXACT], [EXACT - 2, 1, 3 - EXACT, 0, 0, 0]])
def test_sums_of_float64_whose_terms_cancel(weight: list[int]) -> None:
    """Small, but not on the way there; nor is the bound lost where it is rounded."""
    case = reaching(formulas(r=lambda e: (e.a + np.array([weight])).sum(-1)), [1])
    agreeing(case)
    assert proved(case.network, "n").of("r").high.max() >= 2 + len(weight)


@pytest.mark.parametrize("a", [(1 << 25) - 1, 1 << 25, (1 << 25) + 1, 1 - (1 << 25), -1 << 25, -(1 << 25) - 1])
def test_shifted_sums_at_32_bits(a: int) -> None:
    agreeing(reaching(formulas(r=lambda e: e.a << 6, s=lambda e: (e.a << 6) - 5, t=lambda e: (e.a << 6) >> 9), [a]))


class Sent(FormulaNeuron):
    """Sends what its first formula gives, as a readout does."""

    emits = "values"

    @property
    def output_max(self) -> int:
        return WORD - 1

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        after, _, clipped = super().advance(registers, a, now)
        return after, after[1][1], clipped


def sending(most: int) -> Case:
    """A code that reaches `most`."""
    half = abs(most) // 2
    odd = (1 if most > 0 else -1) * (abs(most) - 2 * half)
    neuron = Sent(1, 1, {"r": lambda e: np.where(e.a[..., 0] == 0, 0, e.a[..., 0] * 2 + odd)}, inputs=1)
    return reaching(neuron, [half if most > 0 else -half])


@pytest.mark.parametrize("most", [WORD - 1, 1 - WORD, -WORD])
def test_outputs_of_32_bits(most: int) -> None:
    agreeing(sending(most))


@pytest.mark.parametrize("most", [WORD, -WORD - 1])
def test_outputs_beyond_32_bits_are_refused(most: int) -> None:
    with pytest.raises(NotTraceable, match="32 bits"):
        compile_network(sending(most).network, "states")
