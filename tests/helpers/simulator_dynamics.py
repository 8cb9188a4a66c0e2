"""Update, output and reset of the dynamics of docs/arithmetic.md in unbounded Python integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator_base import rz

Sat = Callable[[int, int, str], int]


class Dynamics:
    """Registers of one population's states, and the code that both couplings share."""

    def __init__(self, node: dict[str, Any], sat: Sat) -> None:
        self.p, self.sat, self.bits = node, sat, node["state_bits"]
        self.per_product = node["rounding"] == "per-product"

    def rounded(self, products: list[int], frac: int, others: list[int], other_frac: int) -> int:
        """Sum products of two kinds, with their fraction bits: each rounded, or the exact sum of all rounded once."""
        if self.per_product:
            return sum(rz(x, frac) for x in products) + sum(rz(x, other_frac) for x in others)
        return rz(sum(products) + (sum(others) << (frac - other_frac)), frac)

    def through(self, h: int, k: int, a: list[int]) -> list[int]:
        return [d * x for d, x in zip(self.p["d"][h][k], a, strict=True)]

    def sat_reset(self, values: dict[str, int]) -> dict[str, int]:
        return {name: self.sat(x, self.bits, f"{name}_reset_saturations") for name, x in values.items()}


class Diagonal(Dynamics):
    """Complex states, each on its own."""

    def __init__(self, node: dict[str, Any], sat: Sat) -> None:
        super().__init__(node, sat)
        self.states = len(node["a_re"][0])
        self.re = [[0] * self.states for _ in node["a_re"]]
        self.im = [[0] * self.states for _ in node["a_re"]]

    def recorded(self) -> dict[str, Any]:
        return {"re": self.re, "im": self.im}

    def phase(self, h: int) -> int:
        """Return the value that the spiking function `phase` reads."""
        return self.im[h][0]

    def magnitude(self, h: int, n: int) -> int:
        return max(abs(self.re[h][n]), abs(self.im[h][n]))

    def update(self, h: int, a: list[int]) -> None:
        p, fa, fb = self.p, self.p["frac_a"], self.p["frac_b"]
        for n in range(self.states):
            re, im, a_re, a_im = self.re[h][n], self.im[h][n], p["a_re"][h][n], p["a_im"][h][n]
            in_re = [b * x for b, x in zip(p["b_re"][h][n], a, strict=True)]
            in_im = [b * x for b, x in zip(p["b_im"][h][n], a, strict=True)]
            # rz is odd: minus the rounded product is the rounded minus product
            new_re = self.rounded([a_re * re, -a_im * im], fa, in_re, fb)
            new_im = self.rounded([a_im * re, a_re * im], fa, in_im, fb)
            self.re[h][n] = self.sat(new_re, self.bits, "re_saturations")
            self.im[h][n] = self.sat(new_im, self.bits, "im_saturations")

    def output(self, h: int, k: int, a: list[int]) -> int:
        p, products = self.p, []
        for n in range(self.states):
            products += [p["c_re"][h][k][n] * self.re[h][n], -p["c_im"][h][k][n] * self.im[h][n]]
        return self.rounded(products, p["frac_c"], self.through(h, k, a), p["frac_d"]) + int(p["bias"][h][k])

    def reset(self, h: int, where: list[bool], f: list[int]) -> None:
        for n in range(self.states):
            if where[n]:
                new = self.after_reset(h, n, f)
                self.re[h][n], self.im[h][n] = new["re"], new["im"]

    def after_reset(self, h: int, n: int, f: list[int]) -> dict[str, int]:
        p, re, im = self.p, self.re[h][n], self.im[h][n]
        action, m_re, m_im = p["reset_action"], p["m_re"][h][n], p["m_im"][h][n]
        back_re = sum(r * x for r, x in zip(p["r_re"][h][n], f, strict=True))
        back_im = sum(r * x for r, x in zip(p["r_im"][h][n], f, strict=True))
        if action == "hard":
            return {"re": p["r_re"][h][n][0], "im": p["r_im"][h][n][0]}
        if action == "soft":
            return self.sat_reset({"re": re - back_re, "im": im - back_im})
        if action == "scale":
            return self.sat_reset({"re": rz(m_re * re, 12), "im": rz(m_re * im, 12)})
        assert action == "linear"
        turned_re, turned_im = rz(m_re * re, 12) - rz(m_im * im, 12), rz(m_im * re, 12) + rz(m_re * im, 12)
        return self.sat_reset({"re": turned_re - back_re, "im": turned_im - back_im})


class Dense(Dynamics):
    """Real states, each fed by all."""

    def __init__(self, node: dict[str, Any], sat: Sat) -> None:
        super().__init__(node, sat)
        self.states = len(node["a"][0])
        self.x = [[0] * self.states for _ in node["a"]]

    def recorded(self) -> dict[str, Any]:
        return {"x": self.x}

    def phase(self, h: int) -> int:
        """Return 0: the spiking function `phase` is refused with dense dynamics."""
        return 0

    def magnitude(self, h: int, n: int) -> int:
        return abs(self.x[h][n])

    def update(self, h: int, a: list[int]) -> None:
        p, old = self.p, list(self.x[h])
        for n in range(self.states):
            kept = [c * x for c, x in zip(p["a"][h][n], old, strict=True)]
            fed = [b * x for b, x in zip(p["b"][h][n], a, strict=True)]
            moved = self.rounded(kept, p["frac_a"], fed, p["frac_b"])
            moved = max(moved, 0) if p["rectify_states"] else moved
            self.x[h][n] = self.sat(moved, self.bits, "x_saturations")

    def output(self, h: int, k: int, a: list[int]) -> int:
        p = self.p
        products = [c * x for c, x in zip(p["c"][h][k], self.x[h], strict=True)]
        return self.rounded(products, p["frac_c"], self.through(h, k, a), p["frac_d"]) + int(p["bias"][h][k])

    def reset(self, h: int, where: list[bool], f: list[int]) -> None:
        old = list(self.x[h])
        for n in range(self.states):
            if where[n]:
                self.x[h][n] = self.after_reset(h, n, old, f)

    def after_reset(self, h: int, n: int, x: list[int], f: list[int]) -> int:
        p, action = self.p, self.p["reset_action"]
        back = sum(r * s for r, s in zip(p["r"][h][n], f, strict=True))
        if action == "hard":
            return int(p["r"][h][n][0])
        if action == "soft":
            return self.sat_reset({"x": x[n] - back})["x"]
        if action == "scale":
            return self.sat_reset({"x": rz(p["m"][h][n][n] * x[n], 12)})["x"]
        assert action == "linear"
        return self.sat_reset({"x": sum(rz(m * i, 12) for m, i in zip(p["m"][h][n], x, strict=True)) - back})["x"]
