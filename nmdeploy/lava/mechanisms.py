"""Mechanisms that follow the dynamics of a spiking state-space neuron: soma, threshold, refractory period, reset."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from nmdeploy.lava.dynamics import FACTOR_BITS, Dynamics
from nmdeploy.lava.rounding import Integers, integers, rz, sat

CHOICES = {
    "spike": ("binary", "ternary", "graded", "stochastic", "phase"),
    "refractory_mode": ("hold", "mask", "mask-raw"),
    "reset_condition": ("never", "any", "each", "magnitude", "every"),
    "reset_action": ("none", "hard", "soft", "scale", "linear", "modulo"),
}
SIGNED = ("ternary", "graded")


@dataclass(frozen=True, eq=False)
class Mechanisms:
    """Mechanisms of H neurons with p outputs each (docs/arithmetic.md, `Neurons with mechanisms`).

    Parameters
    ----------
    vth : array of int, shape (neurons, outputs)
        Threshold, in units of the membrane that it is compared with. Its shape sets H and p.
    spike : {'binary', 'ternary', 'graded', 'stochastic', 'phase'}
        Spiking function.
    graded_shift, graded_bits : int
        A graded code is ``sat(rz(mu, graded_shift), graded_bits)``.
    seed : int
        Seed of the stochastic function's counter-based generator.
    soma : bool
        True if a register v integrates y.
    leak : array of int, shape (neurons, outputs)
        Factor that v keeps per step, in 1/4096.
    rectify : bool
        True if the soma adds only positive y.
    adaptation : bool
        True if a register w, which grows at each spike, is subtracted from v.
    adaptation_leak, adaptation_jump : array of int, shape (neurons, outputs)
        Factor that w keeps per step, in 1/4096, and its growth per spike.
    refractory_steps : int
        Silent steps after a spike.
    refractory_mode : {'hold', 'mask', 'mask-raw'}
        Registers in silent steps: `hold` keeps them; `mask` updates them; with `mask-raw`, a suppressed spike also
        restarts the counter.
    reset_condition : {'never', 'any', 'each', 'magnitude', 'every'}
        Condition under which the reset acts.
    reset_period : int
        Period of the condition `every`, in steps of the population.
    reset_magnitude : array of int, shape (neurons, states), with a soma (neurons, outputs)
        Threshold of the condition `magnitude`.
    reset_action : {'none', 'hard', 'soft', 'scale', 'linear', 'modulo'}
        Change that the reset makes.
    soma_r, soma_m, modulo_exp : array of int, shape (neurons, outputs)
        Reset code, factor (in 1/4096) and exponent of a soma.

    Raises
    ------
    ValueError
        A field exceeds its limits, or the combination has no meaning.
    """

    vth: Any
    spike: str = "binary"
    graded_shift: int = 0
    graded_bits: int = 8
    seed: int = 0
    soma: bool = False
    leak: Any = 0
    rectify: bool = False
    adaptation: bool = False
    adaptation_leak: Any = 0
    adaptation_jump: Any = 0
    refractory_steps: int = 0
    refractory_mode: str = "hold"
    reset_condition: str = "never"
    reset_period: int = 1
    reset_magnitude: Any = 0
    reset_action: str = "none"
    soma_r: Any = 0
    soma_m: Any = 0
    modulo_exp: Any = 0

    def __post_init__(self) -> None:
        if np.ndim(self.vth) != 2:
            raise ValueError(f"vth has shape {list(np.shape(self.vth))}; it must be (neurons, outputs)")
        shape = np.shape(self.vth)
        for key in ("vth", "leak", "adaptation_leak", "adaptation_jump", "soma_r", "soma_m", "modulo_exp"):
            object.__setattr__(self, key, integers(key, getattr(self, key), shape))
        magnitude = integers("reset_magnitude", self.reset_magnitude, np.shape(self.reset_magnitude))
        object.__setattr__(self, "reset_magnitude", magnitude)
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} is {getattr(self, key)!r}; known are {', '.join(allowed)}")
        for limit, refused in self._limits():
            if refused:
                raise ValueError(limit)

    def _limits(self) -> tuple[tuple[str, Any], ...]:
        action, condition, several = self.reset_action, self.reset_condition, self.vth.shape[1] > 1
        signed = self.spike in SIGNED
        return (
            ("vth must be 0 or more", (signed or self.spike == "stochastic") and np.any(self.vth < 0)),
            (f"graded_bits is {self.graded_bits}; it must be 2 to 24", not 2 <= self.graded_bits <= 24),
            (f"graded_shift is {self.graded_shift}; it must be 0 or more", self.graded_shift < 0),
            (f"refractory_steps is {self.refractory_steps}; it must be 0 or more", self.refractory_steps < 0),
            (f"reset_period is {self.reset_period}; it must be 1 or more", self.reset_period < 1),
            ("modulo_exp must be 0 to 31", np.any((self.modulo_exp < 0) | (self.modulo_exp > 31))),
            ("leak must be 0 to 4096", np.any((self.leak < 0) | (self.leak > 4096))),
            ("adaptation_leak must be 0 to 4096", np.any((self.adaptation_leak < 0) | (self.adaptation_leak > 4096))),
            ("adaptation needs a soma", self.adaptation and not self.soma),
            ("phase is refused with a soma", self.spike == "phase" and self.soma),
            ("a reset needs both a condition and an action", (condition == "never") != (action == "none")),
            (
                f"{action} with condition each and {self.vth.shape[1]} outputs on the dynamics: which output's?",
                action in ("hard", "scale", "linear") and condition == "each" and several and not self.soma,
            ),
            (
                f"{action} with signed spikes and condition any has the wrong sign: take each",
                action in ("soft", "linear") and signed and condition == "any",
            ),
            (
                "modulo needs a soma, unsigned spikes, and condition each (or any, with one output)",
                action == "modulo"
                and (not self.soma or signed or not (condition == "each" or (condition == "any" and not several))),
            ),
        )

    def check_fit(self, dynamics: Dynamics) -> None:
        """Refuse dynamics that these mechanisms cannot follow.

        Raises
        ------
        ValueError
            Shapes differ, or the dynamics has no phase and the spiking function is `phase`.
        """
        found, needed = self.vth.shape, (dynamics.neurons, dynamics.outputs)
        if found != needed:
            raise ValueError(f"vth has shape {list(found)}; the dynamics' outputs have {list(needed)}")
        if self.spike == "phase" and ("im" not in dynamics.registers or dynamics.states * dynamics.outputs != 1):
            raise ValueError("phase needs complex dynamics with one state and one output per neuron")
        found, needed = self.reset_magnitude.shape, needed if self.soma else (dynamics.neurons, dynamics.states)
        if found not in ((), needed):
            raise ValueError(f"reset_magnitude has shape {list(found)}; {list(needed)} is needed")

    def soma_reset(self, v: Integers, feedback: Integers, bits: int) -> Integers:
        """Return every output's ``v`` after the reset action, clipped to `bits` (hard and modulo need no clip)."""
        if self.reset_action == "hard":
            return np.asarray(self.soma_r)
        if self.reset_action == "modulo":
            return np.asarray(((v - 1) & ((np.int64(1) << self.modulo_exp) - 1)) + 1)
        if self.reset_action in ("scale", "linear"):
            v = rz(self.soma_m * v, FACTOR_BITS)
        if self.reset_action in ("soft", "linear"):
            v = v - self.soma_r * feedback
        return sat(v, bits)

    def feedback(self, spikes: Integers) -> Integers:
        """Return the strength of each output's feedback, (H, p): its spike with condition `each`, else 1."""
        return spikes if self.reset_condition == "each" else np.ones_like(spikes)

    def resets(self, registers: tuple[Integers, ...], spikes: Integers, step: int) -> Any:
        """Return a mask of the register entries that the reset changes.

        With a soma, `registers` are those of the soma, else those of the dynamics. The mask broadcasts to their shape.
        """
        emitted = np.any(spikes != 0, axis=-1, keepdims=True)
        if self.reset_condition == "magnitude":
            return np.any([np.abs(register) > self.reset_magnitude for register in registers], axis=0)
        if self.reset_condition == "every":
            return np.full_like(emitted, step % self.reset_period == self.reset_period - 1)
        if self.reset_condition == "each" and self.soma:
            return spikes != 0
        return emitted if self.reset_condition in ("any", "each") else np.zeros_like(emitted)
