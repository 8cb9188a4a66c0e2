"""A population whose step evaluates any expression, for which the engine must equal NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from networks_build import Case

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import Emits, FloatArray, IntArray, QuantizedNeuron, Registers, StepTime
from nmdeploy.neurons.ops import saturate
from nmdeploy.synapses.dense import QuantizedDense

LIMIT = 500
CODES = FixedPoint(6, 0, signed=True)


@dataclass(frozen=True)
class Given:
    """Operands of an expression: arrays in the reference, symbols in the engine.

    `x` (samples, H, N) numbers, `flag` (samples, H, N) booleans, `a` (samples, H, q) sums, `y` (samples, H), the step
    `t`, and the parameters `p` (H, N), `m` (H, N, N), `z` (H, 1).
    """

    x: Any
    flag: Any
    a: Any
    y: Any
    t: Any
    p: IntArray
    m: IntArray
    z: IntArray


Formula = Callable[[Given], Any]


@dataclass(frozen=True, eq=False)
class FormulaNeuron(QuantizedNeuron):
    """Registers that wander between -`LIMIT` and `LIMIT`, and the formulas' values, each recorded by its name."""

    neurons: int
    width: int
    formulas: Mapping[str, Formula]
    inputs: int = 2
    seed: int = 0
    state_bits: int = 24
    frac_in: int = 0
    scale: FloatArray = 1.0  # type: ignore[assignment]

    kind: ClassVar[str] = "formula"
    emits: ClassVar[Emits] = "binary"
    flags: ClassVar[tuple[str, ...]] = ("clips",)
    state_registers: ClassVar[tuple[str, ...]] = ()
    neuron_registers: ClassVar[tuple[str, ...]] = ()
    recorded: ClassVar[tuple[str, ...]] = ()

    @property
    def size(self) -> int:
        return self.neurons

    @property
    def footprint_bits(self) -> int:
        return 0

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        pass

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        return np.asarray(values, np.float64)

    def given(self, x: Any, y: Any, a: Any, t: Any) -> Given:
        rng = np.random.default_rng(self.seed)
        draw = lambda *shape: rng.integers(-9, 10, (self.neurons, *shape))  # noqa: E731
        p, m, z = draw(self.width), draw(self.width, self.width), draw(1)
        return Given(x, x > 7, a, y, t, p, m, z)

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        x, y = np.zeros((samples, self.neurons, self.width), dtype), np.zeros((samples, self.neurons), dtype)
        a = np.zeros((samples, self.neurons, self.inputs), dtype)
        given = self.given(x, y, a, 0)
        results = [np.asarray(formula(given)) for formula in self.formulas.values()]
        return (x,), (y, *[np.zeros(r.shape if r.ndim > 1 else y.shape, r.dtype) for r in results])

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        (x,), (y, *_) = registers
        a = a.reshape(len(a), self.neurons, self.inputs)
        given = self.given(x, y, a, now.step)
        x, clipped = saturate(x * 3 - given.p * a[..., :1] + 5, LIMIT)
        y, _ = saturate(a[..., 0] - y * 2, LIMIT)
        x = np.where(clipped, x * 0 + a[..., :1], x)
        given = self.given(x, y, a, now.step)
        results = [formula(given) for formula in self.formulas.values()]
        return ((x,), (y, *results)), y > 0, [clipped]

    def recorded_states(self, registers: Registers) -> dict[str, Any]:
        return {name: r * 1 for name, r in zip(self.formulas, registers[1][1:], strict=True)}


def formula_case(
    formulas: Mapping[str, Formula], neurons: int = 5, width: int = 3, inputs: int = 2, seed: int = 0
) -> Case:
    """Return formulas in a population that graded inputs drive."""
    rng = np.random.default_rng(seed)
    neuron = FormulaNeuron(neurons, width, formulas, inputs, seed)
    weight = rng.integers(-3, 4, (neuron.input_size, 4))
    nodes = {"input": Input((4,), CODES), "s": QuantizedDense(weight), "n": neuron}
    edges = (Edge("input", "s"), Edge("s", "n"))
    codes = rng.integers(CODES.min, CODES.max + 1, (2, 12, 4))
    return Case("formulas", QuantizedNetwork(nodes, edges, 1e-3, "n"), codes)
