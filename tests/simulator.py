"""docs/arithmetic.md in unbounded Python integers, one neuron and one step at a time: plain, slow, and the tests' own.

It shares no code with the package. `simulate` also counts overflows, which Lava does not.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

Record = dict[str, list[Any]]


def rz(x: int, k: int) -> int:
    """Divide by 2**k, round towards zero."""
    return (x >> k) if x >= 0 else -((-x) >> k)


def shift(x: int, e: int) -> int:
    """Times 2**e; floors for e < 0."""
    return x << e if e >= 0 else x >> -e


class Population:
    """Registers of one population, and what overflowed."""

    def __init__(self, node: dict[str, Any]) -> None:
        self.p = node
        self.size = len(node["dv"]) if "dv" in node else len(node["a_re"])
        self.silent = [0] * self.size
        self.overflows: Counter[str] = Counter()
        n = len(node["a_re"][0]) if "a_re" in node else 0
        names = {"lif": "uv", "integrator": "v", "state_space": "y"}[node["kind"]]
        self.r: dict[str, list[Any]] = {name: [0] * self.size for name in names}
        if n:
            self.r |= {name: [[0] * n for _ in range(self.size)] for name in ("re", "im")}

    def sat(self, x: int, bits: int, flag: str) -> int:
        limit = 2 ** (bits - 1) - 1
        if abs(x) > limit:
            self.overflows[flag] += 1
        return max(-limit, min(limit, x))

    def step(self, a: list[int]) -> list[int]:
        out = [getattr(self, self.p["kind"])(h, a[h]) for h in range(self.size)]
        if self.p["kind"] != "integrator":
            steps = self.p["refractory_steps"]
            self.silent = [steps if s else max(c - 1, 0) for s, c in zip(out, self.silent, strict=True)]
        return out

    def integrator(self, h: int, a: int) -> int:
        p, v = self.p, self.r["v"]
        v[h] = self.sat(rz(v[h] * (4096 - p["dv"][h]), 12) + a + p["bias"][h], p["state_bits"], "v_saturations")
        return int(v[h])

    def lif(self, h: int, a: int) -> int:
        p, u, v = self.p, self.r["u"], self.r["v"]
        new = rz(u[h] * (4095 - p["du"][h]), 12) + (a << 6)
        u[h] = new - 2**24 if new > 2**23 else new + 2**24 if new <= -(2**23) else new
        self.overflows["u_wraps"] += u[h] != new
        if self.silent[h]:
            return 0
        bias = p["bias_mant"][h] << p["bias_exp"][h]
        v[h] = self.sat(rz(v[h] * (4096 - p["dv"][h]), 12) + u[h] + bias, 24, "v_saturations")
        if v[h] <= p["vth"][h] << 6:
            return 0
        v[h] = 0
        return 1

    def state_space(self, h: int, a: int) -> int:
        p, re, im = self.p, self.r["re"][h], self.r["im"][h]
        if not (self.silent[h] and p["refractory_mode"] == "hold"):
            for n in range(len(re)):
                re[n], im[n] = self.advance(h, n, re[n], im[n], a)
        self.r["y"][h] = y = self.y(h, re, im, a) + p["bias"][h]
        if self.silent[h] or y <= p["vth"][h]:
            return 0
        m = p["state_bits"]
        for n in range(len(re)):
            if p["reset_action"] == "hard":
                re[n], im[n] = p["r_re"][h][n], p["r_im"][h][n]
            elif p["reset_action"] == "soft":
                re[n] = self.sat(re[n] - p["r_re"][h][n], m, "re_reset_saturations")
                im[n] = self.sat(im[n] - p["r_im"][h][n], m, "im_reset_saturations")
        return 1

    def advance(self, h: int, n: int, re: int, im: int, a: int) -> tuple[int, int]:
        p = self.p
        ar, ai, br, bi = (p[name][h][n] for name in ("a_re", "a_im", "b_re", "b_im"))
        fa, fb, m = p["frac_a"], p["frac_b"], p["state_bits"]
        if p["rounding"] == "per-product":
            new_re = rz(ar * re, fa) - rz(ai * im, fa) + rz(br * a, fb)
            new_im = rz(ai * re, fa) + rz(ar * im, fa) + rz(bi * a, fb)
        else:
            new_re = rz(ar * re - ai * im + br * a * 2 ** (fa - fb), fa)
            new_im = rz(ai * re + ar * im + bi * a * 2 ** (fa - fb), fa)
        return self.sat(new_re, m, "re_saturations"), self.sat(new_im, m, "im_saturations")

    def y(self, h: int, re: list[int], im: list[int], a: int) -> int:
        p, fc, fd = self.p, self.p["frac_c"], self.p["frac_d"]
        products = [(p["c_re"][h][n] * re[n], p["c_im"][h][n] * im[n]) for n in range(len(re))]
        if p["rounding"] == "per-product":
            return sum(rz(r, fc) - rz(i, fc) for r, i in products) + rz(p["d"][h] * a, fd)
        return rz(sum(r - i for r, i in products) + p["d"][h] * a * 2 ** (fc - fd), fc)


def synaptic_sum(node: dict[str, Any], s: list[int]) -> list[int]:
    """Dense synapses, with their bias."""
    a = [shift(sum(w * x for w, x in zip(row, s, strict=True)), node["weight_exp"]) for row in node["weight"]]
    bias = node.get("bias") or [0] * len(a)
    return [x + shift(b, node["bias_exp"]) for x, b in zip(a, bias, strict=True)]


def simulate(nodes: dict[str, Any], edges: Any, sample: Any) -> tuple[Record, dict[str, Any]]:
    """One sample through the aligned network: ``<population>|<register>`` by step, and overflows by population."""
    order: list[str] = []
    while len(order) < len(nodes):
        ready = [n for n in nodes if n not in order and all(s in order for s, t, k in edges if t == n and k == 0)]
        order.append(ready[0])
    populations = {n: Population(p) for n, p in nodes.items() if p["kind"] not in ("input", "dense")}
    sent: dict[str, list[list[int]]] = {name: [] for name in nodes}
    record: Record = {}
    for t, x in enumerate(sample):
        for name in order:
            came = [sent[s][t - k] for s, target, k in edges if target == name and t >= k]
            total = [sum(column) for column in zip(*came, strict=True)]
            if nodes[name]["kind"] == "input":
                sent[name].append([int(code) for code in x])
            elif nodes[name]["kind"] == "dense":
                sent[name].append(synaptic_sum(nodes[name], total or [0] * len(nodes[name]["weight"][0])))
            else:
                population = populations[name]
                sent[name].append(population.step(total or [0] * population.size))
                kept = {
                    key: [list(v) if isinstance(v, list) else v for v in values] for key, values in population.r.items()
                }
                kept |= {} if nodes[name]["kind"] == "integrator" else {"spikes": sent[name][-1]}
                for key, values in kept.items():
                    record.setdefault(f"{name}|{key}", []).append(values)
    return record, {name: dict(population.overflows) for name, population in populations.items()}
