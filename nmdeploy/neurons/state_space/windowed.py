"""Windowed state-space neuron, which decides once per window of r steps and holds the decision in all of them.

Windows do not overlap. The last one of a sample is padded with zeros. Float, per neuron, with synaptic sum a and states
x (complex, N per neuron):

    x <- A x + B a
    y  = Re(C x) + D a + bias
    u[w] = sum over j < r of kernel[j] y[r w + j]
    s[t] = H(u[t // r] - v_threshold), strict

A spike of step t needs y of up to r - 1 later steps, so the output is r - 1 steps late (`output_latency`). With
`send_once`, s is 0 in all steps of a window except the first. This is an approximation, for which the receiver's B is
scaled (`nmdeploy.quantization.window_input`). Integers: docs/arithmetic.md, ``windowed_state_space``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, OverflowPossible
from nmdeploy.neurons.base import (
    Emits,
    FloatArray,
    FloatState,
    IntArray,
    Neuron,
    QuantizationConfig,
    QuantizationContext,
    QuantizedNeuron,
    Registers,
    StepTime,
)
from nmdeploy.neurons.described import comparison
from nmdeploy.neurons.ops import rz, saturate, select, take
from nmdeploy.neurons.rounded import HeldTensor, RoundedPopulation
from nmdeploy.neurons.scales import Limit, Scales, tightest
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace, StateSpace
from nmdeploy.neurons.state_space.scales import codes, coefficient_limit, exponents

U_CALIBRATED = 1 << 30  # largest u on the calibration data, with one bit of headroom
U_BITS = 32
U_LIMIT = (1 << (U_BITS - 1)) - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class QuantizedWindowedStateSpace(QuantizedNeuron):
    """Integer population that decides once per window of r steps.

    Parameters
    ----------
    dynamics : QuantizedStateSpace
        The dynamics by itself, with one input and one output per neuron. Its spikes and resets are unused.
    window : int
        Steps r of a window.
    kernel : (H, r) int
        Weight of each step's y in the window's sum u.
    frac_k : int
        Fraction bits of the kernel, which has the width of the dynamics' coefficients.
    vth : (H,) int
        Threshold of u, which is in units of ``2**-frac_u``.
    send_once : bool
        True if the output is 0 in all steps of a window except the first: the approximate form.
    frac_u : (H,) int
        Fraction bits of u.
    """

    dynamics: QuantizedStateSpace
    window: int
    kernel: IntArray
    frac_k: int
    vth: IntArray
    send_once: bool = False
    frac_u: IntArray = 0  # type: ignore[assignment]

    kind: ClassVar[str] = "windowed_state_space"
    emits: ClassVar[Emits] = "binary"
    state_registers: ClassVar[tuple[str, ...]] = ("re", "im")
    neuron_registers: ClassVar[tuple[str, ...]] = ("y", "u", "decided", "latch")
    recorded: ClassVar[tuple[str, ...]] = ("re", "im", "y", "u")
    flags: ClassVar[tuple[str, ...]] = ("re_saturations", "im_saturations", "u_saturations")
    per_state: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 1 << 16:
            raise BadOption(f"{self.kind}: window = {self.window}: choose 1 to {1 << 16} steps")
        _require_single(self.kind, self.dynamics)
        size = self.dynamics.size
        self._freeze("kernel", self.kernel, np.int64, (size, self.window))
        self._freeze("vth", self.vth, np.int64, (size,))
        self._freeze("frac_u", self.frac_u, np.int64, (size,))
        if not 0 <= self.frac_k <= 31:
            raise BadOption(f"{self.kind}: frac_k = {self.frac_k} lies outside of 0 to 31: rescale the kernel")
        most = (1 << (self.dynamics.coefficient_bits - 1)) - 1
        for name, limit in (("kernel", most), ("vth", U_LIMIT)):
            worst = int(np.abs(getattr(self, name)).max(initial=0))
            if worst > limit:
                raise BadOption(f"{self.kind}: {name} = {worst} exceeds its limit {limit}: lower the scale of u")

    @property
    def state_bits(self) -> int:  # type: ignore[override]
        """Width of the states in bits."""
        return self.dynamics.state_bits

    @property
    def frac_in(self) -> int:  # type: ignore[override]
        """Fraction bits of the synaptic sum."""
        return self.dynamics.frac_in

    @property
    def scale(self) -> FloatArray:  # type: ignore[override]
        """Units of the exported synaptic sum per unit of the float network's, (H,)."""
        return self.dynamics.scale

    @property
    def scales(self) -> Scales:
        inner = self.dynamics.scales
        return replace(inner, fracs={**inner.fracs, "frac_k": self.frac_k, "frac_u": self.frac_u})

    @property
    def size(self) -> int:
        return self.dynamics.size

    @property
    def states_per_neuron(self) -> int:
        return self.dynamics.states_per_neuron

    @property
    def real_states(self) -> int:
        return 2 * self.states_per_neuron + 1

    @property
    def recorded_bits(self) -> Mapping[str, int]:
        return {"re": self.state_bits, "im": self.state_bits, "y": 32, "u": U_BITS}

    @property
    def unstable(self) -> bool:
        return self.dynamics.unstable

    @property
    def output_latency(self) -> int:
        return self.window - 1

    def hold_steps(self, arriving: int) -> int:
        return 1 if self.send_once else self.window

    def start(self, samples: int, dtype: Any = np.int64) -> Registers:
        states, _ = self.dynamics.start(samples, dtype)
        zero, off = np.zeros((samples, self.size), dtype), np.zeros((samples, self.size), bool)
        return states, (zero, zero, off, off)

    def advance(self, registers: Registers, a: Any, now: StepTime) -> tuple[Registers, Any, list[Any]]:
        states, (y, u, decided, latch) = registers
        runs, at = select(now.step < now.steps, True, False), now.step % self.window
        full = at == self.window - 1  # then, too, the first step of the window that is sent
        states, moved, flags = self.dynamics.update_dynamics(states, a[..., None], ~runs[..., None])
        y = select(runs, moved[..., 0], y)
        total, clipped = saturate(select(at == 0, 0, u) + rz(take(self.kernel, at) * y, self.frac_k), U_LIMIT)
        u = select(runs, total, u)
        decided = select(runs, u > self.vth, decided)
        latch = select(full, decided, latch)
        output = select(full, latch, False) if self.send_once else latch
        return (states, (y, u, decided, latch)), output, [*flags, clipped & runs]

    def check_overflow(self, name: str, a_max: IntArray) -> None:
        self.dynamics.check_overflow(name, a_max)
        # The dynamics' proof keeps y under 2**31.
        wide = int(np.abs(self.kernel).max(initial=0)) << 31
        if wide >= 1 << 62:
            raise OverflowPossible(f"node {name!r}: kernel * y can reach {wide}, limit 2**62: use fewer bits")

    def held_tensors(self, source: Any = None) -> dict[str, HeldTensor]:
        inner = self.dynamics.held_tensors(None if source is None else source.dynamics)
        per_y = np.ldexp(1.0, self.dynamics.frac_y[:, 0] - self.frac_u - self.frac_k)[:, None]
        per_u = np.ldexp(1.0, -self.frac_u)
        threshold = self.vth * per_u
        if source is not None:  # u reaches neither the largest code nor the exact threshold
            threshold = np.where(np.abs(self.vth) >= U_LIMIT, source.v_threshold, threshold)
        own = {
            "kernel": HeldTensor(self.kernel * per_y, "coefficient", per_y),
            "v_threshold": HeldTensor(threshold, "threshold", per_u),
        }
        return {name: inner[name] for name in ("a", "b", "c", "d", "bias", "input_bias")} | own

    def remedy(self, tensor: str) -> str:
        return self.dynamics.remedy(tensor)

    def nir_losses(self) -> Sequence[str]:
        if self.window == 1:
            return ()
        return (f"its windows of {self.window} steps have no primitive: other readers see the dynamics only",)

    def dequantize_state(self, state: str, values: npt.NDArray[Any]) -> FloatArray:
        if state == "u":
            return np.ldexp(np.asarray(values, np.float64), -self.frac_u)
        return self.dynamics.dequantize_state(state, values)

    @property
    def footprint_bits(self) -> int:
        # Beside u, there are two bits: the decision of the running window and the one that is sent.
        return self.dynamics.footprint_bits + self.size * (self.window * self.dynamics.coefficient_bits + U_BITS + 2)


Array = npt.NDArray[Any]


def _require_single(kind: str, dynamics: QuantizedStateSpace | StateSpace) -> None:
    if dynamics.inputs != 1 or dynamics.outputs != 1:
        raise BadOption(f"{kind}: {dynamics.inputs} inputs and {dynamics.outputs} outputs per neuron: give one of each")
    if np.any(dynamics.input_bias):
        raise BadOption(f"{kind}: windows have no input bias: move it into the bias of y")


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowedStateSpace(Neuron):
    """Float windowed state-space population.

    Parameters
    ----------
    dynamics : StateSpace
        The dynamics by itself, with one input and one output per neuron. Its spikes and resets are unused.
    kernel : (H, r)
        Weight of each step's y in the window's sum u.
    v_threshold : (H,)
        Threshold of u.
    send_once : bool
        True if the output is 0 in all steps of a window except the first.
    """

    dynamics: StateSpace
    kernel: FloatArray
    v_threshold: FloatArray
    send_once: bool = False

    kind: ClassVar[str] = "windowed_state_space"
    emits: ClassVar[Emits] = "binary"
    membrane_name: ClassVar[str] = "u"
    per_channel: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_single(self.kind, self.dynamics)
        if np.ndim(self.kernel) != 2 or np.shape(self.kernel)[1] < 1:
            raise BadOption(f"{self.kind}: kernel of shape {np.shape(self.kernel)}: give (neurons, steps of a window)")
        self._freeze("kernel", self.kernel, np.float64, (self.dynamics.size, np.shape(self.kernel)[1]))
        self._freeze("v_threshold", np.ravel(self.v_threshold), np.float64, (self.dynamics.size,))

    @property
    def size(self) -> int:
        return self.dynamics.size

    @property
    def window(self) -> int:
        """Steps r of a window."""
        return int(self.kernel.shape[1])

    @property
    def output_latency(self) -> int:
        return self.window - 1

    def hold_steps(self, arriving: int) -> int:
        return 1 if self.send_once else self.window

    def described(self) -> dict[str, str]:
        return {
            "neuron": f"{self.kind} of {self.dynamics.states_per_neuron} states, windows of {self.window} steps",
            "reset": "none",
            "threshold": comparison(self.v_threshold, False),
            "decay": self.dynamics.described()["decay"],
        }

    def start(self, samples: int, dtype: Any = np.float64) -> FloatState:
        u, off = np.zeros((samples, self.size), dtype), np.zeros((samples, self.size), bool)
        return {**self.dynamics.start(samples, dtype), "u": u, "decided": off, "latch": off}

    def step(self, state: FloatState, a: Array, now: StepTime) -> tuple[FloatState, Array]:
        runs, at = now.step < now.steps, now.step % self.window
        full = at == self.window - 1  # then, too, the first step of the window that is sent
        moved, _ = self.dynamics.step(state, a, now)
        still = np.logical_not(runs)[..., None]
        after = {key: np.where(still, state[key], value) for key, value in moved.items()}
        weighted = take(self.kernel.astype(a.dtype), at) * after["y"][..., 0]
        u = np.where(runs, np.where(at == 0, weighted, state["u"] + weighted), state["u"])
        ends = runs & (full | (now.step == now.steps - 1))
        decided = np.where(ends, u > self.v_threshold, state["decided"])
        latch = np.where(full, decided, state["latch"])
        after |= {"u": u, "decided": decided, "latch": latch}
        return after, np.where(full, latch, False) if self.send_once else latch

    def observe(self, state: FloatState) -> dict[str, FloatArray]:
        return {**self.dynamics.observe(state), "u": np.abs(state["u"]).max(0).astype(np.float64)}

    def bounds(self, name: str, a_max: FloatArray) -> dict[str, FloatArray]:
        found = self.dynamics.bounds(name, a_max)
        c, d, bias = self.dynamics.c[:, 0], self.dynamics.d[:, 0, 0], self.dynamics.bias[:, 0]
        states = (np.abs(c * self.dynamics.unit()) * found["x"]).sum(1)
        y = states + np.abs(d) * a_max + np.abs(bias)
        return {**found, "u": np.abs(self.kernel).sum(1) * y}

    def membrane(self, state: FloatState) -> FloatArray:
        return state["u"]

    def choose_scales(self, name: str, context: QuantizationContext, config: QuantizationConfig) -> Scales:
        chosen = self.dynamics.choose_scales(name, context, config)
        frac_y = np.asarray(chosen.fracs["frac_y"])[:, 0]
        bits = config.coefficient_bits
        frac_k = min(bits - 1, 31)
        # If kernel and threshold are scaled alike, no decision changes: the kernel's largest code fills its width.
        fills = exponents(coefficient_limit(config), np.abs(self.kernel).max(1)) - frac_k
        limits = (
            Limit("kernel", frac_y + fills, f"a code of the kernel has {bits} bits"),
            Limit("window sum", exponents(U_CALIBRATED, context.ranges["u"]), f"u has {U_BITS} bits, one headroom"),
        )
        frac_u = np.where(self.kernel.any(1), tightest(limits), frac_y)
        return replace(
            chosen,
            fracs={**chosen.fracs, "frac_k": frac_k, "frac_u": frac_u},
            limits={**chosen.limits, "frac_u": limits},
        )

    def round(self, name: str, scales: Scales, config: QuantizationConfig) -> tuple[QuantizedNeuron, Sequence[str]]:
        own = {key: scales.fracs[key] for key in ("frac_k", "frac_u")}
        inner = replace(scales, fracs={key: value for key, value in scales.fracs.items() if key not in own})
        dynamics, notes = self.dynamics.round(name, inner, config)
        frac_y, frac_k, frac_u = np.asarray(scales.fracs["frac_y"])[:, 0], int(own["frac_k"]), own["frac_u"]
        vth = codes(np.clip(np.ldexp(self.v_threshold, frac_u), -U_LIMIT, U_LIMIT))
        quantized = QuantizedWindowedStateSpace(
            dynamics=dynamics,  # type: ignore[arg-type]
            window=self.window,
            kernel=codes(np.ldexp(self.kernel, (frac_k + frac_u - frac_y)[:, None])),
            frac_k=frac_k,
            vth=vth,
            send_once=self.send_once,
            frac_u=frac_u,  # type: ignore[arg-type]
        )
        silent = int((np.abs(vth) == U_LIMIT).sum())
        said = [f"node {name!r}: the thresholds of {silent} neurons lie beyond all that u can reach"] if silent else []
        return quantized, [*notes, *said]

    def rounded(self, quantized: QuantizedWindowedStateSpace) -> RoundedPopulation | None:
        found = super().rounded(quantized)
        return None if found is None else found._replace(threshold=self.v_threshold)

    def tensor(self, name: str) -> Array:
        return np.asarray(getattr(self if name in ("kernel", "v_threshold") else self.dynamics, name))

    def with_tensor(self, name: str, values: Array) -> WindowedStateSpace:
        if name in ("kernel", "v_threshold"):
            return replace(self, **{name: values})  # type: ignore[arg-type]
        return replace(self, dynamics=replace(self.dynamics, **{name: values}))  # type: ignore[arg-type]


def examples(size: int) -> list[Neuron]:
    """Return live populations with windows of several lengths, for contract tests."""
    rng = np.random.default_rng(0)
    c = rng.normal(size=(size, 3)) + 1j * rng.normal(size=(size, 3))
    a = np.exp(-0.1 * (0.5 + 1j * np.pi * np.arange(3))) * np.ones((size, 1))
    dynamics = StateSpace(a=a, b=0.1, c=c, d=rng.normal(size=size), bias=0.1, v_threshold=np.zeros(()))  # type: ignore[arg-type]
    found: list[Neuron] = []
    for r, once in ((1, False), (3, False), (5, False), (7, False), (5, True)):
        kernel, threshold = rng.normal(0.5, 0.5, (size, r)), np.full(size, 0.2 * r)
        found.append(WindowedStateSpace(dynamics=dynamics, kernel=kernel, v_threshold=threshold, send_once=once))
    return found
