"""docs/arithmetic.md in unbounded Python integers, one neuron and one step at a time, written for the tests alone.

It is plain and slow, and shares no code with the package. `simulate` also counts overflows, which Lava does not.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from simulator_base import Population, Record, rz, shift, wrap24
from simulator_mechanisms import DenseStateSpace, StateSpace
from simulator_windowed import GatedLinearUnit, WindowedStateSpace

__all__ = ["rz", "shift", "simulate", "synaptic_sum"]


class LIF(Population):
    """Family ``lif``, rule ``loihi``."""

    def __init__(self, node: dict[str, Any]) -> None:
        super().__init__(node, len(node["dv"]), len(node["dv"]))
        self.u, self.v, self.counter = [0] * self.inputs, [0] * self.inputs, [0] * self.inputs

    def neuron(self, h: int, a: int) -> int:
        p = self.p
        new = rz(self.u[h] * (4095 - p["du"][h]), 12) + (a << 6)
        self.u[h] = wrap24(new)
        self.overflows["u_wraps"] += self.u[h] != new
        if self.counter[h]:
            return 0
        bias = p["bias_mant"][h] << p["bias_exp"][h]
        self.v[h] = self.sat(rz(self.v[h] * (4096 - p["dv"][h]), 12) + self.u[h] + bias, 24, "v_saturations")
        if self.v[h] <= p["vth"][h] << 6:
            return 0
        self.v[h] = 0
        return 1

    def step(self, a: list[int], t: int) -> list[int]:
        out = [self.neuron(h, a[h]) for h in range(self.inputs)]
        steps = self.p["refractory_steps"]
        self.counter = [steps if s else max(c - 1, 0) for s, c in zip(out, self.counter, strict=True)]
        return out

    def recorded(self) -> dict[str, Any]:
        return {"u": self.u, "v": self.v}


class Integrator(Population):
    """Non-spiking readout."""

    spiking = False

    def __init__(self, node: dict[str, Any]) -> None:
        super().__init__(node, len(node["dv"]), len(node["dv"]))
        self.v = [0] * self.inputs

    def step(self, a: list[int], t: int) -> list[int]:
        for h, p in enumerate(self.v):
            new = rz(p * (4096 - self.p["dv"][h]), 12) + a[h] + self.p["bias"][h]
            self.v[h] = self.sat(new, self.p["state_bits"], "v_saturations")
        return list(self.v)

    def recorded(self) -> dict[str, Any]:
        return {"v": self.v}


class FilteredIntegrator(Population):
    """Non-spiking, with a current and a membrane."""

    spiking = False

    def __init__(self, node: dict[str, Any]) -> None:
        super().__init__(node, len(node["dv"]), len(node["dv"]))
        self.u, self.v, self.out = [0] * self.inputs, [0] * self.inputs, [0] * self.inputs

    def step(self, a: list[int], t: int) -> list[int]:
        p = self.p
        for h in range(self.inputs):
            u = rz(self.u[h] * (4096 - p["du"][h]), 12) + (a[h] << p["in_shift"]) + p["input_bias"][h]
            self.u[h] = self.sat(u, p["state_bits"], "u_saturations")
            v = rz(self.v[h] * (4096 - p["dv"][h]), 12) + self.u[h] + p["bias"][h]
            self.v[h] = self.sat(v, p["state_bits"], "v_saturations")
            self.out[h] = self.sat(rz(self.v[h] * p["out_factor"][h], p["out_shift"]), p["out_bits"], "")
        return list(self.out)

    def recorded(self) -> dict[str, Any]:
        return {"out": self.out, "u": self.u, "v": self.v}


KINDS: dict[str, Any] = {
    "lif": LIF,
    "integrator": Integrator,
    "filtered_integrator": FilteredIntegrator,
    "state_space": StateSpace,
    "dense_state_space": DenseStateSpace,
    "windowed_state_space": WindowedStateSpace,
    "gated_linear_unit": GatedLinearUnit,
}


def matrix(node: dict[str, Any]) -> list[list[int]]:
    """(outputs, inputs) weights of dense or sparse synapses."""
    if node["kind"] == "dense":
        return list(node["weight"])
    offsets = node["offsets"]
    found = [[0] * (len(offsets) - 1) for _ in range(node["outputs"])]
    for source, (first, last) in enumerate(pairwise(offsets)):
        for entry in range(first, last):
            found[node["targets"][entry]][source] = node["codes"][entry]
    return found


def synaptic_sum(node: dict[str, Any], s: list[int]) -> list[int]:
    """Return the sums of dense synapses, with their bias."""
    a = [shift(sum(w * x for w, x in zip(row, s, strict=True)), node["weight_exp"]) for row in matrix(node)]
    bias = node.get("bias") or [0] * len(a)
    return [x + shift(b, node["bias_exp"]) for x, b in zip(a, bias, strict=True)]


def total(size: int, arriving: list[list[int]]) -> list[int]:
    """Return the sum of vectors, entry by entry."""
    return [sum(column) for column in zip([0] * size, *arriving, strict=True)]


class Run:
    """The aligned network: each node's outputs by step, computed on first request."""

    def __init__(self, nodes: dict[str, Any], edges: Any, sample: Any) -> None:
        self.nodes, self.steps = nodes, len(sample)
        self.sources: dict[str, list[tuple[str, int]]] = {name: [] for name in nodes}
        for source, target, delay in edges:
            self.sources[target].append((source, delay))
        self.populations = {n: KINDS[p["kind"]](p) for n, p in nodes.items() if p["kind"] in KINDS}
        self.sent: dict[str, list[list[int]]] = {name: [] for name in nodes}
        self.record: Record = {}
        for name, node in nodes.items():
            if node["kind"] == "input":
                self.sent[name] = [[int(code) for code in x] for x in sample]

    def output(self, name: str, t: int) -> list[int]:
        """Return the output of the input or a population in aligned step t."""
        if t < 0:
            return [0] * len(self.output(name, 0)) if self.nodes[name]["kind"] == "input" else self.nothing(name)
        while len(self.sent[name]) <= t:
            self.advance(name)
        return self.sent[name][t]

    def nothing(self, name: str) -> list[int]:
        return [0] * self.populations[name].outputs

    def arriving(self, name: str, t: int) -> list[int]:
        """Return the synaptic sums of a population in its step t."""
        sums = []
        for synapse, _ in self.sources[name]:
            node = self.nodes[synapse]
            came = [self.output(source, t - delay) for source, delay in self.sources[synapse]]
            sums.append(synaptic_sum(node, total(len(matrix(node)[0]), came)))
        return total(self.populations[name].inputs, sums)

    def advance(self, name: str) -> None:
        """Compute the population's next step; of windows, the next window, in which every step sends the decision."""
        population = self.populations[name]
        first = len(self.sent[name])
        last = min(first + population.window, self.steps)
        for t in range(first, last):
            out = population.step(self.arriving(name, t), t)
            for key, value in population.recorded().items():
                self.record.setdefault(f"{name}|{key}", []).append(copied(value))
        aligned = population.aligned(last - first) if population.window > 1 else [out]
        self.sent[name] += aligned
        if population.spiking:
            self.record.setdefault(f"{name}|spikes", []).extend(aligned)


def copied(value: Any) -> Any:
    """Return a copy of nested lists."""
    return [copied(v) for v in value] if isinstance(value, list) else value


def simulate(nodes: dict[str, Any], edges: Any, sample: Any) -> tuple[Record, dict[str, Any]]:
    """Run one sample through the aligned network: ``<population>|<register>`` by step, and overflows by population."""
    run = Run(nodes, edges, sample)
    for t in range(len(sample)):
        for name in run.populations:
            run.output(name, t)
    return run.record, {name: dict(population.overflows) for name, population in run.populations.items()}
