"""Mechanisms of ``state_space`` and ``dense_state_space`` of docs/arithmetic.md, in unbounded Python integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator_base import Population, rz
from simulator_dynamics import Dense, Diagonal

MASK32 = 2**32 - 1


def h32(x: int) -> int:
    """Return the hash of 32 bits that makes the counter-based random bits."""
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B % 2**32
    return (x >> 16) ^ x


def random16(seed: int, entry: int, t: int) -> int:
    """Return 16 random bits of one output entry in one step."""
    return h32(h32(h32(seed & MASK32) ^ entry) ^ t) >> 16


class Mechanisms(Population):
    """Dynamics, and the parts after it: soma, adaptation, spiking function, refractory period, reset."""

    dynamics_of: Callable[..., Any]

    def __init__(self, node: dict[str, Any]) -> None:
        self.size, self.p_out, self.q = len(node["d"]), len(node["d"][0]), len(node["d"][0][0])
        super().__init__(node, self.size * self.q, self.size * self.p_out)
        self.dynamics = type(self).dynamics_of(node, self.sat)
        self.counter = [0] * self.size
        self.y, self.v, self.w = ([[0] * self.p_out for _ in range(self.size)] for _ in range(3))

    def recorded(self) -> dict[str, Any]:
        kept = (
            {"y": self.y} | ({"v": self.v} if self.p["soma"] else {}) | ({"w": self.w} if self.p["adaptation"] else {})
        )
        if self.p_out == 1:
            kept = {name: [row[0] for row in rows] for name, rows in kept.items()}
        return {**self.dynamics.recorded(), **kept}

    def step(self, a: list[int], t: int) -> list[int]:
        out = []
        for h in range(self.size):
            biased = zip(a[h * self.q : (h + 1) * self.q], self.p["input_bias"][h], strict=True)
            out += self.neuron(h, [x + bias for x, bias in biased], t)
        return out

    def neuron(self, h: int, a: list[int], t: int) -> list[int]:
        p = self.p
        silent = self.counter[h] > 0
        held = silent and p["refractory_mode"] == "hold"
        before = self.dynamics.phase(h)
        if not held:
            self.dynamics.update(h, a)
        outputs = range(self.p_out)
        self.y[h] = [self.dynamics.output(h, k, a) for k in outputs]
        mu = [self.membrane(h, k, held) for k in outputs]
        raw = [self.fire(h, k, mu[k], before, t) for k in outputs]
        s = [0] * self.p_out if silent else raw
        restarts = any(raw) if p["refractory_mode"] == "mask-raw" else any(s)
        self.counter[h] = p["refractory_steps"] if restarts else max(self.counter[h] - 1, 0)
        if not held:
            self.reset(h, s, t)
        return s

    def membrane(self, h: int, k: int, held: bool) -> int:
        p, y = self.p, self.y[h][k]
        if not p["soma"]:
            return y
        if not held:
            drive = max(y, 0) if p["rectify"] else y
            self.v[h][k] = self.sat(rz(p["leak"][h][k] * self.v[h][k], 12) + drive, p["state_bits"], "v_saturations")
        if p["adaptation"] and not held:
            self.w[h][k] = rz(p["adaptation_leak"][h][k] * self.w[h][k], 12)
        return self.v[h][k] - self.w[h][k]

    def fire(self, h: int, k: int, mu: int, before: int, t: int) -> int:
        p, vth = self.p, self.p["vth"][h][k]
        if p["spike"] == "binary":
            return int(mu > vth)
        if p["spike"] == "ternary":
            return 1 if mu > vth else -1 if mu < -vth else 0
        if p["spike"] == "graded":
            limit = 2 ** (p["graded_bits"] - 1) - 1
            return max(-limit, min(limit, rz(mu, p["graded_shift"]))) if abs(mu) > vth else 0
        if p["spike"] == "stochastic":
            return int(mu > (vth * random16(p["seed"], h * self.p_out + k, t)) >> 16)
        assert p["spike"] == "phase"
        return int(mu >= vth and self.dynamics.phase(h) >= 0 and before < 0)

    def reset(self, h: int, s: list[int], t: int) -> None:
        """Reset the soma or the dynamics, then add the jump of the adaptation."""
        p = self.p
        strength = s if p["reset_condition"] == "each" else [1] * self.p_out
        now = any(s) if p["reset_condition"] in ("any", "each") else t % p["reset_period"] == p["reset_period"] - 1
        if p["reset_condition"] == "never":
            now = False
        if not p["soma"]:
            where = [now] * self.dynamics.states
            if p["reset_condition"] == "magnitude":
                where = [
                    self.dynamics.magnitude(h, n) > p["reset_magnitude"][h][n] for n in range(self.dynamics.states)
                ]
            self.dynamics.reset(h, where, strength)
            return
        for k in range(self.p_out):
            there = now if p["reset_condition"] != "each" else s[k] != 0
            if p["reset_condition"] == "magnitude":
                there = abs(self.v[h][k]) > p["reset_magnitude"][h][k]
            if there:
                self.v[h][k] = self.reset_soma(h, k, strength[k])
            if p["adaptation"]:
                jumped = self.w[h][k] + p["adaptation_jump"][h][k] * s[k]
                self.w[h][k] = self.sat(jumped, p["state_bits"], "w_saturations")

    def reset_soma(self, h: int, k: int, f: int) -> int:
        p, v, bits, flag = self.p, self.v[h][k], self.p["state_bits"], "v_reset_saturations"
        r, m = p["soma_r"][h][k], rz(p["soma_m"][h][k] * v, 12)
        if p["reset_action"] == "hard":
            return int(r)
        if p["reset_action"] == "soft":
            return self.sat(v - r * f, bits, flag)
        if p["reset_action"] == "scale":
            return self.sat(m, bits, flag)
        if p["reset_action"] == "linear":
            return self.sat(m - r * f, bits, flag)
        assert p["reset_action"] == "modulo"
        return int((v - 1) % 2 ** p["modulo_exp"][h][k] + 1)


class StateSpace(Mechanisms):
    """Coupling diagonal, complex."""

    dynamics_of = Diagonal


class DenseStateSpace(Mechanisms):
    """Coupling dense, real."""

    dynamics_of = Dense
