"""Families ``windowed_state_space`` and ``gated_linear_unit`` of docs/arithmetic.md in unbounded Python integers."""

from __future__ import annotations

from typing import Any

from simulator_base import Population, rz, shift
from simulator_dynamics import Diagonal


class WindowedStateSpace(Population):
    """Decisions over windows; `aligned` gives every step of a window the window's decision."""

    def __init__(self, node: dict[str, Any]) -> None:
        size = len(node["vth"])
        super().__init__(node, size, size)
        self.window = node["window"]
        self.dynamics = Diagonal(node.get("dynamics", node), self.sat)
        self.y, self.u = [0] * size, [0] * size

    def step(self, a: list[int], t: int) -> list[int]:
        for h in range(self.inputs):
            self.dynamics.update(h, [a[h]])
            self.y[h] = self.dynamics.output(h, 0, [a[h]])
            before = 0 if t % self.window == 0 else self.u[h]
            weighted = rz(self.p["kernel"][h][t % self.window] * self.y[h], self.p["frac_k"])
            self.u[h] = self.sat(before + weighted, 32, "u_saturations")
        return self.decided()

    def decided(self) -> list[int]:
        return [int(u > vth) for u, vth in zip(self.u, self.p["vth"], strict=True)]

    def aligned(self, steps: int) -> list[list[int]]:
        rest = [0] * self.outputs if self.p["send_once"] else self.decided()
        return [self.decided() if step == 0 else rest for step in range(steps)]

    def recorded(self) -> dict[str, Any]:
        return {**self.dynamics.recorded(), "y": self.y, "u": self.u}


class GatedLinearUnit(Population):
    """Gated linear unit."""

    spiking = False

    def __init__(self, node: dict[str, Any]) -> None:
        super().__init__(node, 2 * node["neurons"], node["neurons"])
        self.g = [0] * node["neurons"]

    def step(self, a: list[int], t: int) -> list[int]:
        table = self.p["table"]
        if self.p["send_once"] and t % self.p["window"] != 0:
            self.g = [0] * self.outputs
            return list(self.g)
        for h in range(self.outputs):
            value, argument = a[2 * h], shift(a[2 * h + 1], 12 - self.p["frac_in"])
            g = min(max(argument, -32768), 32767) + 32768
            i, f = g // 1024, g % 1024
            gate = table[i] + rz((table[i + 1] - table[i]) * f, 10)
            self.g[h] = self.sat(rz(value * gate, self.p["gate_shift"]), self.p["output_bits"], "g_saturations")
        return list(self.g)

    def recorded(self) -> dict[str, Any]:
        return {"g": self.g}
