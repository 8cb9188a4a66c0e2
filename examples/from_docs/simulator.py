"""Integer simulator of windowed state-space neurons and gated linear units.

Reads a model file with h5py, runs input codes through it in plain NumPy integers, and returns what every population
computes in every step, in aligned time. It knows the kinds ``input``, ``dense``, ``windowed_state_space``,
``gated_linear_unit`` and ``integrator``.

Usage::

    python simulator.py model.nir data.npz [recording.h5]

The data hold ``inputs`` (values) or ``codes`` (samples, steps, channels), and optionally ``lengths``. With a recording
that ``nmdeploy simulate --trace states`` wrote, every value is compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Node = dict[str, Any]
Trace = dict[str, dict[str, Ints]]


# Elementary operations


def rz(x: Ints, k: int) -> Ints:
    """Divide by ``2**k``, rounding towards zero."""
    quotient: Ints = np.sign(x) * (np.abs(x) >> k)
    return quotient


def shift(x: Ints, e: int) -> Ints:
    """Multiply by ``2**e``; a negative `e` rounds towards minus infinity."""
    return x << e if e >= 0 else x >> -e


def sat(x: Ints, bits: int) -> Ints:
    """Clip into the symmetric range of `bits` bits."""
    most = 2 ** (bits - 1) - 1
    return np.clip(x, -most, most)


# The model file


@dataclass(frozen=True)
class Model:
    """A quantized network: nodes by name, and edges (source, target, delay)."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str, int]]
    output: str
    readout: str

    def sources(self, name: str) -> list[tuple[str, int]]:
        """Return the sources of a node, and the delay of each edge."""
        return [(source, delay) for source, target, delay in self.edges if target == name]


def read_model(path: str) -> Model:
    """Read the integers of a model file from its metadata."""
    with h5py.File(path) as file:
        group = file["node/metadata/nmdeploy"]
        text = json.loads(group["model"][()])
        nodes: dict[str, Node] = text["nodes"]
        for name, arrays in group["nodes"].items():
            for key, array in arrays.items():
                *parts, last = key.split(".")
                place = nodes[name]
                for part in parts:
                    place = place[part]
                codes = array[()]
                place[last] = codes.astype(np.int64) if codes.dtype.kind in "iu" else codes
    for name, node in nodes.items():
        if node["kind"] not in {"input", "dense", *STEPS}:
            raise NotImplementedError(f"node {name!r}: kind {node['kind']!r} is not simulated here")
    edges = [(source, target, delay) for source, target, delay in text["edges"]]
    return Model(nodes, edges, text["output"], text["readout"])


# Synapses and populations


def dense(node: Node, s: Ints) -> Ints:
    """Return the synaptic sums of dense synapses."""
    sums = shift(node["weight"] @ s, node["weight_exp"])
    if node.get("bias") is not None:
        sums = sums + shift(node["bias"], node["bias_exp"])
    return sums


def update_state_space(node: Node, registers: dict[str, Ints], a: Ints) -> Ints:
    """Advance diagonal complex dynamics of one input and one output by a step, and return y."""
    m, frac_a, frac_b, frac_c, frac_d = (node[k] for k in ("state_bits", "frac_a", "frac_b", "frac_c", "frac_d"))
    a_re, a_im = node["a_re"], node["a_im"]
    b_re, b_im = node["b_re"][:, :, 0], node["b_im"][:, :, 0]
    c_re, c_im = node["c_re"][:, 0], node["c_im"][:, 0]
    d, bias = node["d"][:, 0, 0], node["bias"][:, 0]
    zero = np.zeros_like(a_re)
    re, im = registers.get("re", zero), registers.get("im", zero)
    drive = a[:, None]
    if node["rounding"] == "per-product":
        new_re = rz(a_re * re, frac_a) - rz(a_im * im, frac_a) + rz(b_re * drive, frac_b)
        new_im = rz(a_im * re, frac_a) + rz(a_re * im, frac_a) + rz(b_im * drive, frac_b)
    else:
        new_re = rz(a_re * re - a_im * im + (b_re * drive << (frac_a - frac_b)), frac_a)
        new_im = rz(a_im * re + a_re * im + (b_im * drive << (frac_a - frac_b)), frac_a)
    re, im = sat(new_re, m), sat(new_im, m)
    registers["re"], registers["im"] = re, im
    y: Ints
    if node["rounding"] == "per-product":
        y = (rz(c_re * re, frac_c) - rz(c_im * im, frac_c)).sum(axis=1) + rz(d * a, frac_d) + bias
    else:
        y = rz((c_re * re - c_im * im).sum(axis=1) + (d * a << (frac_c - frac_d)), frac_c) + bias
    return y


@dataclass
class Population:
    """A population in a run: its registers, and what it has computed so far, in aligned time."""

    node: Node
    steps: int
    registers: dict[str, Ints] = field(default_factory=dict)
    states: dict[str, list[Ints]] = field(default_factory=dict)
    outputs: list[Ints] = field(default_factory=list)
    now: int = 0

    def record(self, **states: Ints) -> None:
        """Append the states of this step."""
        for name, codes in states.items():
            self.states.setdefault(name, []).append(codes)

    def advance(self, a: Ints) -> None:
        """Take the own step `now` with the synaptic sums `a`."""
        STEPS[self.node["kind"]](self, a)
        self.now += 1


def step_windowed(population: Population, a: Ints) -> None:
    """Windowed state space: the outputs of a window are known at its last step."""
    node, registers, t = population.node, population.registers, population.now
    r = node["window"]
    y = update_state_space(node["dynamics"], registers, a)
    before = np.zeros_like(y) if t % r == 0 else registers["u"]
    u = sat(before + rz(node["kernel"][:, t % r] * y, node["frac_k"]), 32)
    registers["u"] = u
    population.record(re=registers["re"], im=registers["im"], y=y, u=u)
    if t % r == r - 1 or t == population.steps - 1:
        spikes = (u > node["vth"]).astype(np.int64)
        for i in range(t % r + 1):
            population.outputs.append(np.zeros_like(spikes) if node["send_once"] and i else spikes)


def step_gated(population: Population, a: Ints) -> None:
    """Gated linear unit: a value times the interpolated sigmoid of its gate."""
    node, table = population.node, population.node["table"]
    value, gate_sum = a[0::2], a[1::2]
    x = np.clip(shift(gate_sum, 12 - node["frac_in"]), -32768, 32767) + 32768
    i, f = x >> 10, x & 1023
    gate = table[i] + rz((table[i + 1] - table[i]) * f, 10)
    g = sat(rz(value * gate, node["gate_shift"]), node["output_bits"])
    if node["send_once"] and population.now % node["window"]:
        g = np.zeros_like(g)
    population.record(g=g)
    population.outputs.append(g)


def step_integrator(population: Population, a: Ints) -> None:
    """Leaky integrator without spikes, the readout."""
    node, registers = population.node, population.registers
    v = registers.get("v", np.zeros_like(a))
    v = sat(rz(v * (4096 - node["dv"]), 12) + a + node["bias"], node["state_bits"])
    registers["v"] = v
    population.record(v=v)
    population.outputs.append(v)


STEPS: dict[str, Callable[[Population, Ints], None]] = {
    "windowed_state_space": step_windowed,
    "gated_linear_unit": step_gated,
    "integrator": step_integrator,
}


# The run


def gather(model: Model, synapse: str, t: int, sent: dict[str, list[Ints]]) -> Ints | None:
    """Return what arrives at a synapse in aligned step t, or None if a source has not sent it yet."""
    weight = model.nodes[synapse]["weight"]
    total = np.zeros(weight.shape[1], dtype=np.int64)
    for source, delay in model.sources(synapse):
        if t - delay < 0:
            continue
        if t - delay >= len(sent[source]):
            return None
        total = total + sent[source][t - delay]
    return total


def synaptic_sum(model: Model, population: str, t: int, sent: dict[str, list[Ints]]) -> Ints | None:
    """Return the synaptic sums of a population in aligned step t, or None if they are not known yet."""
    total: Ints | None = None
    for synapse, _ in model.sources(population):
        arriving = gather(model, synapse, t, sent)
        if arriving is None:
            return None
        sums = dense(model.nodes[synapse], arriving)
        total = sums if total is None else total + sums
    return total


def run_sample(model: Model, codes: Ints) -> Trace:
    """Run one sample of input codes (steps, channels); return outputs and states by population, (steps, ...) each.

    A population takes its next own step as soon as everything that arrives in it is known. That keeps the order of
    computation right for windows, which decide late, and for loops, without a clock of the hardware.
    """
    steps = len(codes)
    populations = {n: Population(node, steps) for n, node in model.nodes.items() if node["kind"] in STEPS}
    inputs = {n: list(codes) for n, node in model.nodes.items() if node["kind"] == "input"}
    sent = inputs | {name: population.outputs for name, population in populations.items()}
    progress = True
    while progress:
        progress = False
        for name, population in populations.items():
            while population.now < steps and (a := synaptic_sum(model, name, population.now, sent)) is not None:
                population.advance(a)
                progress = True
    if any(population.now < steps for population in populations.values()):
        raise ValueError("a loop without delay: its populations wait for each other")
    return {
        name: {"output": np.array(p.outputs)} | {state: np.array(codes) for state, codes in p.states.items()}
        for name, p in populations.items()
    }


def classify(model: Model, outputs: Ints) -> int:
    """Return the class of a sample from its outputs (steps, classes)."""
    if model.readout == "last":
        values = outputs[-1]
    elif model.readout == "max":
        values = outputs.max(axis=0)
    else:
        values = outputs.sum(axis=0)  # a mean over the same steps has the same class
    return int(np.argmax(values))


def leads_to(model: Model, start: str, end: str) -> bool:
    """Return whether a path of edges leads from one node to another."""
    seen, waiting = {start}, [start]
    while waiting:
        name = waiting.pop()
        following = {target for source, target, _ in model.edges if source == name} - seen
        seen |= following
        waiting.extend(following)
    return end in seen


def latency(model: Model) -> int:
    """Return the steps by which the chip's output is later than the aligned times.

    Each synapse takes a step, and a window all of its steps but one. An edge with a delay that closes a loop is no
    part of the longest path.
    """

    def ready(name: str) -> int:
        """Return the steps from the input to the output of a node: its depth, plus its lookahead."""
        node = model.nodes[name]
        late: int = {"dense": 1, "windowed_state_space": node.get("window", 1) - 1}.get(node["kind"], 0)
        forward = [s for s, delay in model.sources(name) if not (delay and leads_to(model, name, s))]
        return max((ready(source) for source in forward), default=0) + late

    return ready(model.output)


def read_codes(path: str, model: Model) -> tuple[Ints, Ints]:
    """Return input codes (samples, steps, channels) and lengths of an ``.npz``."""
    data = np.load(path)
    form = next(node["format"] for node in model.nodes.values() if node["kind"] == "input")
    codes = data["codes"] if "codes" in data else np.round(data["inputs"] * 2.0 ** form["frac"])
    codes = codes.reshape(*codes.shape[:2], -1).astype(np.int64)
    return codes, data["lengths"] if "lengths" in data else np.full(len(codes), codes.shape[1])


def codes_of(stored: Any, sample: int) -> Ints:
    """Return a sample's codes; those of 24 bits are three planes of bytes on the last axis, the lowest one first."""
    values: Ints = stored[sample].astype(np.int64)
    if stored.attrs.get("bits") != 24:
        return values
    low, middle, high = np.moveaxis(values, -1, 0)
    found: Ints = (high << 16) + ((middle & 255) << 8) + (low & 255)
    return found


def compare(model: Model, traces: list[Trace], recording: str) -> tuple[int, int]:
    """Compare traces with a recording; return the numbers of values and of differences."""
    values = different = 0

    def count(name: str, ours: Ints, theirs: Ints) -> None:
        nonlocal values, different
        wrong = int(np.sum(ours != theirs[: len(ours)])) + int(np.count_nonzero(theirs[len(ours) :]))
        if wrong:
            print(f"{name}: {wrong} of {theirs.size} differ")
        values, different = values + theirs.size, different + wrong

    with h5py.File(recording) as file:
        for sample, trace in enumerate(traces):
            for name, layer in trace.items():
                group = file["layers"][name]
                for state in group["states"]:
                    count(f"{sample} {name} {state}", layer[state], codes_of(group["states"][state], sample))
                if "spikes" in group:
                    count(f"{sample} {name} spikes", layer["output"], group["spikes"][sample])
            kind = "spikes" if "spikes" in file["output"] else "readout"
            count(f"{sample} output", trace[model.output]["output"], file["output"][kind][sample])
            predicted = np.array([classify(model, trace[model.output]["output"])])
            count(f"{sample} class", predicted, file["predictions"][sample : sample + 1])
        count("latency", np.array([latency(model)]), np.array([file.attrs["latency"]]))
    return values, different


def main(arguments: list[str]) -> int:
    """Run a model on a file of samples, and compare with a recording if there is one."""
    model = read_model(arguments[0])
    codes, lengths = read_codes(arguments[1], model)
    traces = [run_sample(model, sample[:length]) for sample, length in zip(codes, lengths, strict=True)]
    print("classes:", [classify(model, trace[model.output]["output"]) for trace in traces])
    if len(arguments) < 3:
        return 0
    values, different = compare(model, traces, arguments[2])
    print(f"{values} values compared, {different} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
