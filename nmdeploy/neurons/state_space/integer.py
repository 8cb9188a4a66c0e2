"""General spiking neuron in integers: fields, proofs, and all of its step that follows its dynamics.

docs/arithmetic.md has the rules.
"""

from __future__ import annotations

import functools
import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, OverflowPossible
from nmdeploy.neurons.base import Emits, FloatArray, IntArray, QuantizedNeuron, Registers, StepTime
from nmdeploy.neurons.state_space.dims import Dims
from nmdeploy.neurons.state_space.mechanisms import (
    EMITS,
    ONE_SIDED,
    SIGNED,
    nir_losses,
    readable_membrane,
    require_meaning,
)
from nmdeploy.neurons.state_space.rules import (
    ROUNDINGS,
    SPIKE,
    Firing,
    Fractions,
    Rounding,
    count_down,
    decay_adaptation,
    raise_adaptation,
    random16,
    reset_hard,
    reset_modulo,
    scale_state,
    update_register,
    update_soma,
)

Lanes = tuple[Any, ...]
SATURATING = ("soft", "scale", "linear")
STATE_BITS_MAX = 24  # states of the chips that have a profile
OF_THE_STATES = ("states", "floors", "r", "v_threshold", "bias", "input_bias")  # what has a step of the states' width
PER_OUTPUT = ("bias", "vth", "leak", "adaptation_leak", "adaptation_jump", "soma_r", "soma_m", "modulo_exp", "frac_y")


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedSpiking(Dims, QuantizedNeuron):
    """Integer spiking population with H neurons, N states, q inputs and p outputs each.

    Parameters
    ----------
    rounding : {"per-product", "per-sum"}
        Rounding rule of the dynamics.
    state_bits, coefficient_bits : int
        Widths of the states and of the coefficients.
    frac_a, frac_b, frac_c, frac_d : int
        Fraction bits of the coefficients.
    d : (H, p, q) int
        Feedthrough coefficients.
    input_bias : (H, q) int
        Bias that is added to the synaptic sums.
    bias, vth : (H, p) int
        Bias of y and threshold, in units of y.
    soma, rectify, adaptation : bool
        True if the membrane is a soma (leak) that integrates y, if it integrates max(y, 0), if its threshold adapts.
    leak, adaptation_leak : (H, p) int, in 1/4096;  adaptation_jump : (H, p) int, in units of y
        Factors of soma and adaptation per step, and the increase of the adaptation per spike.
    spike : {"binary", "ternary", "graded", "stochastic", "phase"}
        Spiking function.
    graded_shift, graded_bits : int
        Bits of the membrane that a graded code drops, and the code's width.
    seed : int
        Seed of stochastic spikes.
    refractory_steps : int;  refractory_mode : {"hold", "mask", "mask-raw"}
        Silent steps after a spike, and their effect.
    reset_condition : {"never", "any", "each", "magnitude", "every"};  reset_period : int
        Condition of the reset; "every" acts once per `reset_period` steps.
    reset_magnitude : (H, N) int, or (H, p) with a soma
        Magnitude above which condition "magnitude" resets.
    reset_action : {"none", "hard", "soft", "scale", "linear", "modulo"}
        Action of the reset.
    soma_r, soma_m, modulo_exp : (H, p) int
        Target or amount, factor (in 1/4096), and threshold exponent of a soma's reset.
    frac_in : int;  frac_x : (H, N) int;  frac_y : (H, p) int;  frac_out : int
        Fraction bits of the synaptic sum, the states, y and graded codes.
    scale : (H * q,) float
        Units of the exported synaptic sum per unit of the float network's.
    """

    rounding: str
    state_bits: int
    coefficient_bits: int
    frac_a: int
    frac_b: int
    frac_c: int
    frac_d: int
    d: IntArray
    bias: IntArray
    vth: IntArray
    input_bias: IntArray = 0  # type: ignore[assignment]
    soma: bool = False
    leak: IntArray = 0  # type: ignore[assignment]
    rectify: bool = False
    adaptation: bool = False
    adaptation_leak: IntArray = 0  # type: ignore[assignment]
    adaptation_jump: IntArray = 0  # type: ignore[assignment]
    spike: str = "binary"
    graded_shift: int = 0
    graded_bits: int = 8
    seed: int = 0
    refractory_steps: int = 0
    refractory_mode: str = "hold"
    reset_condition: str = "never"
    reset_period: int = 1
    reset_magnitude: IntArray = 0  # type: ignore[assignment]
    reset_action: str = "none"
    soma_r: IntArray = 0  # type: ignore[assignment]
    soma_m: IntArray = 0  # type: ignore[assignment]
    modulo_exp: IntArray = 0  # type: ignore[assignment]
    frac_in: int = 0
    frac_x: IntArray = 0  # type: ignore[assignment]
    frac_y: IntArray = 0  # type: ignore[assignment]
    frac_out: int = 0
    scale: FloatArray = 1.0  # type: ignore[assignment]

    per_state: ClassVar[bool] = True

    @property
    def emits(self) -> Emits:  # type: ignore[override]
        return EMITS[self.spike]

    @property
    def random_seed(self) -> int | None:
        return self.seed if self.spike == "stochastic" else None

    def nir_losses(self) -> Sequence[str]:
        return tuple(nir_losses(self))

    def remedy(self, tensor: str) -> str:
        if tensor == "a" and self.frac_a < self.coefficient_bits - 2:
            return f"give more --coefficient-frac (now {self.frac_a}, {self.coefficient_bits - 2} hold a pole of 1)"
        if tensor in OF_THE_STATES and self.state_bits < STATE_BITS_MAX:
            return f"give more --state-bits (now {self.state_bits})"
        if tensor in OF_THE_STATES:
            return "its states have the width of the chip: choose faster poles, or a larger --dt"
        if tensor in ("leak", "adaptation_leak", "m", "soma_m"):
            return "factors have 12 bits: choose one that is a multiple of 1/4096"
        return f"give more --coefficient-bits (now {self.coefficient_bits})"

    @property
    def output_max(self) -> int:
        return (1 << (self.graded_bits - 1)) - 1 if self.spike == "graded" else 1

    @property
    def output_frac(self) -> int:
        return self.frac_out if self.spike == "graded" else 0

    @property
    def real_states(self) -> int:
        return len(self.state_registers) * self.states_per_neuron + self.outputs * (self.soma + self.adaptation)

    @property
    def neuron_registers(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("refractory", "y", *["v"] * self.soma, *["w"] * self.adaptation)

    @property
    def recorded(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.state_registers, *self.neuron_registers[1:])

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        wide = {"y": 32} | ({"v": 32} if self.reset_action == "modulo" else {})  # modulo wraps a soma below 0
        return dict.fromkeys(self.recorded, self.state_bits) | wide

    @property
    def flags(self) -> tuple[str, ...]:  # type: ignore[override]
        soma = [f"{name}_saturations" for name, there in (("v", self.soma), ("w", self.adaptation)) if there]
        acting = ("v",) if self.soma else self.state_registers
        resets = [f"{name}_reset_saturations" for name in acting] if self.reset_action in SATURATING else []
        return (*(f"{name}_saturations" for name in self.state_registers), *soma, *resets)

    @property
    def limit(self) -> int:
        """Largest magnitude of a state code."""
        return (1 << (self.state_bits - 1)) - 1

    @property
    def membrane_register(self) -> str | None:
        return readable_membrane(self)

    def membrane_codes(self, states: Mapping[str, Any], outputs: Any) -> Any:
        """Return y, which no reset changes; of a soma, v, which is computed again where a spike has reset it."""
        if not self.soma:
            return states["y"]
        h, _, _, p = self.dims
        y, v = (states[name].reshape(*outputs.shape[:2], h, p) for name in ("y", "v"))
        before = np.concatenate([np.zeros_like(v[:, :1]), v[:, :-1]], 1)
        moved, _ = update_soma(before, y, np.zeros((), bool), self.leak, self.rectify, self.limit)
        spiked = (outputs.reshape(v.shape) != 0).any(-1, keepdims=True)
        return np.where(spiked, moved, v).reshape(states["v"].shape)

    @property
    def fractions(self) -> Fractions:
        """Fraction bits of the coefficients."""
        return Fractions(self.frac_a, self.frac_b, self.frac_c, self.frac_d)

    @property
    def rule(self) -> Rounding:
        """Functions of the rounding rule."""
        return ROUNDINGS[self.rounding]

    def _freeze_common(self) -> None:
        h, n, q, p = self.dims
        if np.ndim(self.d) < 3:
            self._freeze("d", np.asarray(self.d).reshape(-1, 1, 1), np.int64)
        self._freeze("d", self.d, np.int64, (h, p, q))
        for name in PER_OUTPUT:
            value = np.asarray(getattr(self, name))
            self._freeze(name, value[:, None] if value.ndim == 1 else value, np.int64, (h, p))
        self._freeze("frac_x", self.frac_x, np.int64, (h, n))
        self._freeze("input_bias", self.input_bias, np.int64, (h, q))
        self._freeze("reset_magnitude", self.reset_magnitude, np.int64, (h, p if self.soma else n))
        self._freeze("scale", self.scale, np.float64, (h * q,))

    def _check_common(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise BadOption(f"{self.kind}: rounding {self.rounding!r} is unknown: choose one of {tuple(ROUNDINGS)}")
        require_meaning(self)
        sizes = (("state_bits", 2, 32), ("coefficient_bits", 2, 32), ("seed", 0, (1 << 32) - 1))
        counts = (("refractory_steps", 0, 1 << 20), ("reset_period", 1, 1 << 20), ("graded_bits", 2, 24))
        for name, low, high in (*sizes, *counts):
            if not low <= getattr(self, name) <= high:
                raise BadOption(f"{self.kind}: {name} = {getattr(self, name)}: choose {low} to {high}")
        if not all(0 <= frac <= 31 for frac in (*self.fractions, self.graded_shift)):
            raise BadOption(f"{self.kind}: fraction bits of a coefficient lie outside of 0 to 31: rescale the states")
        if self.rounding == "per-sum" and (self.frac_b > self.frac_a or self.frac_d > self.frac_c):
            raise BadOption(f"{self.kind}: per-sum rounding needs frac_b <= frac_a and frac_d <= frac_c: lower them")
        self._check_codes()

    def _check_codes(self) -> None:
        most, wide = 1 << (self.coefficient_bits - 1), (1 << 31) - 1
        coefficients = f"{self.coefficient_bits} bits: raise coefficient_bits"
        states = f"{self.state_bits} bits: raise state_bits or lower the scale"
        for name in self.coefficients:
            self._within(name, -most, most - 1, coefficients)
        for name in self.reset_codes:
            self._within(name, -self.limit, self.limit, states)
        for name in ("soma_r", "adaptation_jump", "reset_magnitude"):
            self._within(name, -self.limit, self.limit, states)
        for name in ("leak", "adaptation_leak"):
            self._within(name, 0, 4096, "0 to 4096: a leak is a factor from 0 to 1")
        self._within("modulo_exp", 0, 30, "0 to 30: lower the scale of y")
        self._within("vth", 0 if self.spike in ONE_SIDED else -wide, wide, "0 (or 32 bits): choose a threshold >= 0")
        self._within("bias", -wide, wide, "32 bits: lower the scale of y")
        self._within("input_bias", -wide, wide, "32 bits: lower the weight exponents")
        for name in (*self.reset_factors, "soma_m"):
            self._within(name, -wide, wide, "32 bits: lower the reset's factors")

    coefficients: ClassVar[tuple[str, ...]]
    reset_codes: ClassVar[tuple[str, ...]]
    reset_factors: ClassVar[tuple[str, ...]]

    def _within(self, name: str, low: int, high: int, reason: str) -> None:
        codes = getattr(self, name)
        outside = codes[(codes < low) | (codes > high)]
        if outside.size:
            raise BadOption(f"{self.kind}: {name} = {int(outside.flat[0])} exceeds {reason}")

    def check_common_overflow(self, name: str, inner: int, outer: Any) -> None:
        """Raise `OverflowPossible` if a sum is too large: `inner` of an update, `outer` (H, p) of unshifted y."""
        _, n, _, p = self.dims
        amount = self._largest(*self.reset_codes, "soma_r", "adaptation_jump") * p * self.output_max
        back = amount + self._largest(*self.reset_factors, "soma_m") * self.limit * max(n, 2)
        wide = max(int(inner), int(outer.max()), back)
        if wide >= 1 << 62:
            raise OverflowPossible(f"node {name!r}: a sum of products can reach {wide}, limit 2**62: use fewer bits")
        y = int(((outer >> self.frac_c) + np.abs(self.bias.astype(object))).max()) + 2 * n + self.inputs + 1
        if y >= 1 << 31:
            raise OverflowPossible(
                f"node {name!r}: y can reach {y}, limit 2**31: lower --coefficient-bits or --state-bits"
            )

    def arriving_max(self, name: str, a_max: IntArray) -> Any:
        """Return the largest magnitude that enters, (H, 1, q) unbounded integers; `OverflowPossible` from 2**31 on."""
        h, _, q, _ = self.dims
        most = a_max.astype(object).reshape(h, 1, q) + np.abs(self.input_bias.astype(object))[:, None]
        if most.max(initial=0) >= 1 << 31:
            raise OverflowPossible(
                f"node {name!r}: a synaptic sum with its bias can reach {int(most.max())}, limit 2**31: lower the "
                "weight exponent"
            )
        return most

    def _largest(self, *names: str) -> int:
        return max(int(np.abs(getattr(self, name)).max(initial=0)) for name in names)

    @property
    def adds_bias(self) -> bool:
        return True

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        frac = self.frac_x if state in self.state_registers else self.frac_y[:, 0] if self.outputs == 1 else self.frac_y
        return np.ldexp(np.asarray(values, np.float64), -frac)

    @property
    def mechanism_bits(self) -> int:
        """Memory, in bits per neuron, of all except its states: feedthrough, bias, threshold, soma, adaptation."""
        _, _, q, p = self.dims
        soma = self.soma * (self.state_bits + 13) + self.adaptation * (2 * self.state_bits + 13)
        reset = self.state_bits if self.soma and self.reset_action not in ("none", "modulo") else 0
        arriving = q * self.state_bits * bool(self.input_bias.any())
        return arriving + p * (q * self.coefficient_bits + 2 * 24 + soma + reset)

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        h, n, _, p = self.dims
        states, lane = np.zeros((samples, h, n), dtype), np.zeros((samples, h, p), dtype)
        return tuple(states for _ in self.state_registers), (
            np.zeros((samples, h, 1), dtype),
            *[lane] * (len(self.neuron_registers) - 1),
        )

    @abstractmethod
    def update_dynamics(self, states: Lanes, a: Any, held: Any) -> tuple[Lanes, Any, list[Any]]:
        """Step the dynamics: states (samples, H, N) each, a (samples, H, q) -> states', y (samples, H, p), flags."""

    @abstractmethod
    def reset_dynamics(self, states: Lanes, acts: Any, f: Any) -> tuple[Lanes, list[Any]]:
        """Reset the dynamics where `acts` (samples, H, N or 1), with feedback f (samples, H, p) -> states', flags."""

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        before, (counter, _, *inner) = registers
        a = a.reshape(len(a), self.size, self.inputs) + self.input_bias
        silent = counter != 0
        held = silent & (self.refractory_mode == "hold")
        states, y, flags = self.update_dynamics(before, a, held)
        mu, inner, update_overflows = self._membrane(y, inner, held)
        raw = SPIKE[self.spike](mu, self._firing(states, before, now))
        s = np.where(silent, 0, raw)
        emitted, raised = ((values != 0).any(-1, keepdims=True) for values in (s, raw))
        counter = count_down(counter, raised if self.refractory_mode == "mask-raw" else emitted, self.refractory_steps)
        states, inner, reset_overflows = self._reset(states, inner, s, emitted, held, now)
        s = s.reshape(len(a), self.output_size)
        return (
            (states, (counter, y, *inner)),
            s if self.spike in SIGNED else s != 0,
            [*flags, *update_overflows, *reset_overflows],
        )

    def _membrane(self, y: Any, inner: list[Any], held: Any) -> tuple[Any, list[Any], list[Any]]:
        if not self.soma:
            return y, [], []
        v, clipped = update_soma(inner[0], y, held, self.leak, self.rectify, self.limit)
        if not self.adaptation:
            return v, [v], [clipped]
        w = decay_adaptation(inner[1], held, self.adaptation_leak)
        return v - w, [v, w], [clipped]

    def _firing(self, states: Lanes, before: Lanes, now: StepTime) -> Firing:
        h, _, _, p = self.dims
        drawn = random16(self.seed, np.arange(h * p).reshape(1, h, p), now.step) if self.spike == "stochastic" else 0
        return Firing(self.vth, self.graded_shift, self.output_max, drawn, states[-1], before[-1])

    def _reset(
        self, states: Lanes, inner: list[Any], s: Any, emitted: Any, held: Any, now: StepTime
    ) -> tuple[Lanes, list[Any], list[Any]]:
        raised: list[Any] = []
        if self.reset_action != "none":
            acts, f = self._condition(states, inner, s, emitted, now)
            if self.soma:
                inner[0], raised = self._reset_soma(inner[0], acts & ~held, f)
            else:
                states, raised = self.reset_dynamics(states, acts & ~held, f)
        if self.adaptation:
            inner[1], clipped = raise_adaptation(inner[1], s, self.adaptation_jump, self.limit)
            raised = [clipped, *raised]
        return states, inner, raised

    def _condition(self, states: Lanes, inner: list[Any], s: Any, emitted: Any, now: StepTime) -> tuple[Any, Any]:
        """Return where the reset acts, and the feedback f."""
        if self.reset_condition == "any":
            return emitted, emitted * np.ones_like(s)
        if self.reset_condition == "each":
            return s != 0 if self.soma else emitted, s
        ones = np.ones_like(s)
        if self.reset_condition == "every":
            return np.full_like(emitted, now.step % self.reset_period == self.reset_period - 1), ones
        sizes = [np.abs(x) > self.reset_magnitude for x in (inner[:1] if self.soma else states)]
        return functools.reduce(operator.or_, sizes), ones

    def _reset_soma(self, v: Any, acts: Any, f: Any) -> tuple[Any, list[Any]]:
        if self.reset_action == "hard":
            return reset_hard(v, acts, self.soma_r), []
        if self.reset_action == "modulo":
            return reset_modulo(v, acts, self.modulo_exp), []
        kept = v if self.reset_action == "soft" else scale_state(self.soma_m, v)
        given = 0 if self.reset_action == "scale" else self.soma_r * f
        v, clipped = update_register(~acts, v, kept - given, self.limit)
        return v, [clipped]

    def saturate_reset(self, old: Any, new: Any, acts: Any) -> tuple[Any, Any]:
        """Return a state after a saturating reset where it `acts`, and where it saturated."""
        return update_register(~acts, old, new, self.limit)

    def recorded_states(self, registers: Registers) -> dict[str, Any]:
        states, z = registers
        everything = dict(zip(self.state_registers, states, strict=True)) | dict(
            zip(self.neuron_registers, z, strict=True)
        )
        flat = self.neuron_registers if self.outputs == 1 else ()
        return {name: everything[name][..., 0] if name in flat else everything[name] for name in self.recorded}


def sum_last_axis(lanes: Any) -> Any:
    """Sum over the last axis; NumPy's own sum is slow if that axis is short."""
    if lanes.shape[-1] > 4:
        return lanes.sum(-1)
    return functools.reduce(operator.add, [lanes[..., index] for index in range(lanes.shape[-1])])


def sum_inputs(rule: Rounding, f: Fractions, b: Any, a: Any) -> Any:
    """Return ``sum over j of b[j] a[j]`` under a rounding rule: b (H, N, q), a (samples, H, q) -> (samples, H, N)."""
    return sum_last_axis(rule.input_product(b, a[:, :, None, :], f))


def feedthrough(rule: Rounding, f: Fractions, d: Any, a: Any) -> Any:
    """Return ``sum over j of d[k, j] a[j]``: d (H, p, q), a (samples, H, q) -> (samples, H, p)."""
    return sum_last_axis(rule.feedthrough_product(d, a[:, :, None, :], f))


def sum_feedback(r: Any, f: Any) -> Any:
    """Return ``sum over k of r[n, k] f[k]``: r (H, N, p), f (samples, H, p) -> (samples, H, N)."""
    return sum_last_axis(r * f[:, :, None, :])
