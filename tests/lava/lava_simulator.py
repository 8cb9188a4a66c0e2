"""Simulator of docs/arithmetic.md in unbounded Python integers: slow, plain, and the tests' own."""

from __future__ import annotations

from typing import Any

Vector = list[int]


def rz(x: int, k: int) -> int:
    return (x >> k) if x >= 0 else -((-x) >> k)


def shift(x: int, e: int) -> int:
    return x << e if e >= 0 else x >> -e


def sat(x: int, bits: int) -> int:
    limit = 2 ** (bits - 1) - 1
    return max(-limit, min(limit, x))


def wrap24(x: int) -> int:
    if x > 2**23:
        return x - 2**24
    return x + 2**24 if x <= -(2**23) else x


class Population:
    def __init__(self, node: dict[str, Any]) -> None:
        self.node = node
        self.size = len(node["dv"] if "dv" in node else node["a_re"])
        self.counter = [0] * self.size
        states = len(node["a_re"][0]) if "a_re" in node else 0
        self.registers: dict[str, Any] = {
            "lif": {"u": [0] * self.size, "v": [0] * self.size},
            "integrator": {"v": [0] * self.size},
            "state_space": {
                "re": [[0] * states for _ in range(self.size)],
                "im": [[0] * states for _ in range(self.size)],
                "y": [0] * self.size,
            },
        }[node["kind"]]

    def step(self, a: Vector) -> Vector:
        out = [getattr(self, self.node["kind"])(h, a[h]) for h in range(self.size)]
        if self.node["kind"] != "integrator":
            self.counter = [
                self.node["refractory_steps"] if s else max(c - 1, 0) for s, c in zip(out, self.counter, strict=True)
            ]
        return out

    def integrator(self, h: int, a: int) -> int:
        v, p = self.registers["v"], self.node
        v[h] = sat(rz(v[h] * (4096 - p["dv"][h]), 12) + a + p["bias"][h], p["state_bits"])
        return int(v[h])

    def lif(self, h: int, a: int) -> int:
        u, v, p = self.registers["u"], self.registers["v"], self.node
        u[h] = wrap24(rz(u[h] * (4095 - p["du"][h]), 12) + (a << 6))
        if self.counter[h] > 0:
            return 0
        v[h] = sat(rz(v[h] * (4096 - p["dv"][h]), 12) + u[h] + (p["bias_mant"][h] << p["bias_exp"][h]), 24)
        if v[h] > p["vth"][h] << 6:
            v[h] = 0
            return 1
        return 0

    def state_space(self, h: int, a: int) -> int:
        p = self.node
        re, im = self.registers["re"][h], self.registers["im"][h]
        if not (self.counter[h] > 0 and p["refractory_mode"] == "hold"):
            for n in range(len(re)):
                re[n], im[n] = self._advance(h, n, re[n], im[n], a)
        y = self._output(h, re, im, a)
        self.registers["y"][h] = y
        spike = self.counter[h] == 0 and y > p["vth"][h]
        for n in range(len(re)):
            if spike and p["reset_action"] == "hard":
                re[n], im[n] = p["r_re"][h][n], p["r_im"][h][n]
            if spike and p["reset_action"] == "soft":
                re[n], im[n] = (
                    sat(re[n] - p["r_re"][h][n], p["state_bits"]),
                    sat(im[n] - p["r_im"][h][n], p["state_bits"]),
                )
        return int(spike)

    def _advance(self, h: int, n: int, re: int, im: int, a: int) -> tuple[int, int]:
        p, fa, fb, m = self.node, self.node["frac_a"], self.node["frac_b"], self.node["state_bits"]
        ar, ai, br, bi = p["a_re"][h][n], p["a_im"][h][n], p["b_re"][h][n], p["b_im"][h][n]
        if p["rounding"] == "per-sum":
            new_re = rz(ar * re - ai * im + (br * a << (fa - fb)), fa)
            new_im = rz(ai * re + ar * im + (bi * a << (fa - fb)), fa)
        else:
            new_re = rz(ar * re, fa) - rz(ai * im, fa) + rz(br * a, fb)
            new_im = rz(ai * re, fa) + rz(ar * im, fa) + rz(bi * a, fb)
        return sat(new_re, m), sat(new_im, m)

    def _output(self, h: int, re: Vector, im: Vector, a: int) -> int:
        p, fc, fd = self.node, self.node["frac_c"], self.node["frac_d"]
        states = list(zip(p["c_re"][h], p["c_im"][h], re, im, strict=True))
        if p["rounding"] == "per-sum":
            total = sum(cr * r - ci * i for cr, ci, r, i in states)
            return int(rz(total + (p["d"][h] * a << (fc - fd)), fc) + p["bias"][h])
        total = sum(rz(cr * r, fc) - rz(ci * i, fc) for cr, ci, r, i in states)
        return int(total + rz(p["d"][h] * a, fd) + p["bias"][h])


def activation(node: dict[str, Any], s: Vector) -> Vector:
    sums = [sum(w * x for w, x in zip(row, s, strict=True)) for row in node["weight"]]
    a = [shift(x, node["weight_exp"]) for x in sums]
    if node.get("bias") is None:
        return a
    return [x + shift(b, node["bias_exp"]) for x, b in zip(a, node["bias"], strict=True)]


def order(model: dict[str, Any]) -> list[str]:
    """Nodes such that every edge without delay points forward."""
    result: list[str] = []
    while len(result) < len(model["nodes"]):
        for name in model["nodes"]:
            before = [source for source, target, delay in model["edges"] if target == name and delay == 0]
            if name not in result and all(source in result for source in before):
                result.append(name)
    return result


def simulate(model: dict[str, Any], sample: list[Vector]) -> dict[str, list[Any]]:
    """``<population>|<register>`` of every step of one sample, in the aligned network."""
    nodes = model["nodes"]
    populations = {name: Population(node) for name, node in nodes.items() if node["kind"] not in ("input", "dense")}
    sent: dict[str, list[Vector]] = {name: [] for name in nodes}
    record: dict[str, list[Any]] = {}
    for t, x in enumerate(sample):
        for name in order(model):
            arriving = [(source, t - delay) for source, target, delay in model["edges"] if target == name]
            values = [sent[source][when] for source, when in arriving if when >= 0]
            summed = [sum(column) for column in zip(*values, strict=True)] if values else None
            if nodes[name]["kind"] == "input":
                sent[name].append(list(x))
            elif nodes[name]["kind"] == "dense":
                sent[name].append(activation(nodes[name], summed or [0] * len(nodes[name]["weight"][0])))
            else:
                population = populations[name]
                sent[name].append(population.step(summed or [0] * population.size))
                registers = {
                    key: [list(v) if isinstance(v, list) else v for v in r] for key, r in population.registers.items()
                }
                if nodes[name]["kind"] != "integrator":
                    registers["spikes"] = sent[name][-1]
                for key, value in registers.items():
                    record.setdefault(f"{name}|{key}", []).append(value)
    return record
