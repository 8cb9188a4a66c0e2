"""Random quantized networks that are alive: every layer spikes, registers wrap and clip, resets and holds happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nmdeploy.errors import OverflowPossible
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network import Edge, Input, QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron
from nmdeploy.neurons.integrator import QuantizedIntegrator
from nmdeploy.neurons.lif import VTH_MAX, QuantizedLIF
from nmdeploy.neurons.state_space_integer import QuantizedStateSpace
from nmdeploy.recording import Recording
from nmdeploy.synapses.dense import SIGN_MODES, QuantizedDense, code_range

Rng = np.random.Generator
MakeNeuron = Callable[[Rng, int], QuantizedNeuron]
ALIVE = (0.01, 0.80)
S_MAX = 7  # largest input code, and more than the largest sum of spikes, that the networks here send


@dataclass(frozen=True)
class Case:
    """A network, its input codes (samples, steps, channels), and a name that reproduces it."""

    name: str
    network: QuantizedNetwork
    inputs: Any


def random_dense(rng: Rng, outputs: int, inputs: int, exponents: tuple[int, int], bias: bool = True) -> QuantizedDense:
    """Weights over the whole range of a random sign mode, both ends of it included."""
    mode, bits = str(rng.choice(SIGN_MODES)), int(rng.choice([1, 2, 4, 8, 8, 8]))
    low, high = code_range(mode, bits)
    weight = rng.integers(low, high + 1, (outputs, inputs))
    weight[rng.random(weight.shape) < 0.3] = 0
    weight.flat[0], weight.flat[-1] = low, high
    exponent = int(rng.integers(*exponents, endpoint=True)) + 8 - bits
    low, high = code_range("mixed", bits)
    codes = rng.integers(low, high + 1, outputs) if bias and rng.random() < 0.3 else None
    worst = int(np.abs(weight).sum(1).max()) * S_MAX + (0 if codes is None else int(np.abs(codes).max()))
    exponent = min(exponent, 23 - worst.bit_length())
    return QuantizedDense(weight, bits, 0, mode, exponent, codes, 0, exponent if codes is not None else 0)


def random_lif(rng: Rng, size: int) -> QuantizedLIF:
    """Decays at their edges or random; one of four populations has decays and thresholds of each neuron's own."""
    mixed = rng.random() < 0.25
    shape = (size,) if mixed else (1,)
    decay = lambda: rng.choice([0, 1, 4095, int(rng.integers(0, 4096)), int(rng.integers(100, 2000))], shape)  # noqa: E731
    mant = rng.integers(-4096, 4096, size) * (rng.random(size) < 0.5)
    return QuantizedLIF(
        du=decay(),
        dv=decay(),
        vth=np.full(shape, VTH_MAX),
        bias_mant=mant * (rng.random() < 0.6) + np.zeros(size, int),
        bias_exp=rng.integers(0, 8, size),
        refractory_steps=int(rng.integers(0, 6)) if rng.random() < 0.5 else 0,
    )


def random_state_space(rng: Rng, size: int) -> QuantizedStateSpace:
    """Poles inside, on and slightly outside of the unit circle; coefficients over most of their range."""
    n, frac = int(rng.integers(1, 7)), 12
    shape = (size, n)
    radius = rng.choice([0.5, 0.9, 0.99, 1.0, 1.02], shape) * 2**frac
    angle = rng.uniform(-np.pi, np.pi, shape)
    rounding = str(rng.choice(["per-product", "per-sum"]))
    bits = int(rng.choice([12, 16, 24]))
    codes = lambda low, high, s: rng.integers(low, high, s)  # noqa: E731
    return QuantizedStateSpace(
        rounding=rounding,
        state_bits=bits,
        coefficient_bits=16,
        frac_a=frac,
        frac_b=int(rng.integers(0, 9)),
        frac_c=15,
        frac_d=int(rng.integers(0, 12)),
        a_re=np.rint(radius * np.cos(angle)),
        a_im=np.rint(radius * np.sin(angle)),
        b_re=codes(-300, 300, shape),
        b_im=codes(-300, 300, shape),
        c_re=codes(-(2**15) + 1, 2**15, shape),
        c_im=codes(-(2**15) + 1, 2**15, shape),
        d=codes(-200, 200, size) * (rng.random() < 0.7),
        bias=codes(-50, 50, size),
        vth=0,
        reset_action=str(rng.choice(["none", "hard", "soft"])),
        r_re=codes(-(2 ** (bits - 2)), 2 ** (bits - 2), shape),
        r_im=codes(-(2 ** (bits - 2)), 2 ** (bits - 2), shape),
        refractory_steps=int(rng.integers(0, 6)) if rng.random() < 0.6 else 0,
        refractory_mode=str(rng.choice(["hold", "mask"])),
    )


def random_case(seed: int, make: MakeNeuron, exponents: tuple[int, int], steps: int = 100, samples: int = 1) -> Case:
    """A network of 1 to 4 layers with optional recurrence, residual edge and integrating readout, made alive."""
    rng = np.random.default_rng(seed)
    layers, channels = int(rng.integers(1, 5)), int(rng.integers(2, 9))
    number = FixedPoint(int(rng.choice([1, 1, 3])), 0, signed=False)
    inputs = rng.integers(0, number.max + 1, (samples, steps, channels)) * (
        rng.random((samples, steps, channels)) < 0.4
    )
    nodes: dict[str, Any] = {"input": Input((channels,), number)}
    edges: list[Edge] = []
    outputs = {"input": inputs}
    sizes = [int(rng.choice([8, 16, 40, int(rng.integers(8, 65))])) for _ in range(layers)]
    for index, size in enumerate(sizes):
        source = f"layer{index - 1}" if index else "input"
        residual = [f"layer{index - 2}"] if index > 1 and sizes[index - 2] == sizes[index - 1] else []
        _add_layer(rng, nodes, edges, outputs, f"layer{index}", size, [source, *residual], make, exponents)
    last = f"layer{layers - 1}"
    if rng.random() < 0.3:
        nodes["readout.synapse"] = random_dense(rng, 5, sizes[-1], (0, 3))
        nodes["readout"] = QuantizedIntegrator(rng.choice([0, 1, 500, 4096], 5), rng.integers(-99, 99, 5), 24)
        edges += [Edge(last, "readout.synapse"), Edge("readout.synapse", "readout")]
        last = "readout"
    return Case(f"{make.__name__}-{seed}", QuantizedNetwork(nodes, tuple(edges), 1e-3, last), inputs)


def _add_layer(
    rng: Rng,
    nodes: dict[str, Any],
    edges: list[Edge],
    outputs: dict[str, Any],
    name: str,
    size: int,
    sources: list[str],
    make: MakeNeuron,
    exponents: tuple[int, int],
) -> None:
    """Draw a layer until one is alive, and add it."""
    arriving = sum(outputs[source] for source in sources)
    for _ in range(8):
        synapse, neuron = random_dense(rng, size, arriving.shape[-1], exponents), make(rng, size)
        lower = (exponents[0] - 2, exponents[1] - 2)
        recurrent = random_dense(rng, size, size, lower, bias=False) if rng.random() < 0.25 else None
        synapse, recurrent = _tamed(neuron, synapse, recurrent)
        neuron, spikes = _at_rate(neuron, synapse.apply(arriving), recurrent, float(rng.uniform(0.05, 0.4)))
        if 0.02 <= spikes.mean() <= 0.7:
            break
    nodes |= {f"{name}.synapse": synapse, name: neuron}
    edges += [*(Edge(source, f"{name}.synapse") for source in sources), Edge(f"{name}.synapse", name)]
    if recurrent is not None:
        nodes[f"{name}.recurrent"] = recurrent
        edges += [Edge(name, f"{name}.recurrent", 1), Edge(f"{name}.recurrent", name)]
    outputs[name] = spikes


def _tamed(neuron: Any, synapse: QuantizedDense, recurrent: QuantizedDense | None) -> tuple[Any, Any]:
    """The synapses with exponents low enough for the proof that no register overflows."""
    while True:
        a_max = synapse.a_max(S_MAX) + (0 if recurrent is None else recurrent.a_max(1))
        try:
            neuron.prove("", a_max)
            return synapse, recurrent
        except OverflowPossible:
            synapse = _weaker(synapse)
            recurrent = None if recurrent is None else _weaker(recurrent)


def _weaker(synapse: QuantizedDense) -> QuantizedDense:
    return replace(synapse, weight_exp=synapse.weight_exp - 1, bias_exp=synapse.bias_exp - 1)


def _at_rate(neuron: Any, drive: Any, recurrent: QuantizedDense | None, target: float) -> tuple[Any, Any]:
    """The population with the threshold, found by bisection, at which it spikes nearest to a rate; and its spikes."""
    low, high = (0, VTH_MAX) if isinstance(neuron, QuantizedLIF) else (-(1 << 24), 1 << 24)
    best, spikes, gap = neuron, None, np.inf
    for _ in range(12):
        middle = (low + high) // 2
        tried = replace(neuron, vth=np.full_like(neuron.vth, middle))
        fired = _spikes(tried, drive, recurrent)
        rate = float(fired.mean())
        if abs(rate - target) < gap:
            best, spikes, gap = tried, fired, abs(rate - target)
        low, high = (middle, high) if rate > target else (low, middle)
    return best, spikes


def _spikes(neuron: Any, drive: Any, recurrent: QuantizedDense | None) -> Any:
    state, fired, found = neuron.start(len(drive)), np.zeros((len(drive), neuron.size), np.int64), []
    for step in range(drive.shape[1]):
        a = drive[:, step] + (0 if recurrent is None else recurrent.apply(fired))
        state, s, _ = neuron.advance(state, a, step)
        fired = s.astype(np.int64)
        found.append(fired)
    return np.stack(found, 1)


def lif_case(seed: int) -> Case:
    """LIF networks: weight exponents up to where u wraps and v clips."""
    return random_case(seed, random_lif, (2, 9) if seed % 3 else (8, 13))


def state_space_case(seed: int) -> Case:
    """State-space networks."""
    return random_case(seed, random_state_space, (-2, 2))


def is_alive(case: Case, recording: Recording) -> bool:
    """Whether every spiking layer's rate lies between 1 % and 80 %."""
    rates = [float(layer.spikes.mean()) for layer in recording.layers.values() if layer.spikes is not None]
    return all(ALIVE[0] <= rate <= ALIVE[1] for rate in rates)


def coverage(cases: Iterable[Case], recordings: Iterable[Recording]) -> Counter[str]:
    """What the cases exercised: how many networks wrap, clip, reset, hold, use each sign mode at its edge, ..."""
    seen: Counter[str] = Counter()
    for case, recording in zip(cases, recordings, strict=True):
        found = set()
        for name, neuron in case.network.populations.items():
            found |= {flag for flag in neuron.flags if recording.total(name, flag)}
            if neuron.spiking and recording.total(name, "spikes"):
                found |= _mechanisms(neuron)
        for synapse in case.network.synapses.values():
            if isinstance(synapse, QuantizedDense):
                found |= {f"{synapse.sign_mode} at its edge"} if _at_edge(synapse) else set()
                found |= {"bias synapse"} if synapse.bias is not None else set()
                found |= {"negative weight_exp"} if synapse.weight_exp < 0 else set()
        found |= {"recurrent"} if any(edge.delay for edge in case.network.edges) else set()
        found |= {"inserted delay"} if any(case.network.inserted_delays.values()) else set()
        found |= {"alive"} if is_alive(case, recording) else set()
        seen.update(found)
    return seen


def _mechanisms(neuron: Any) -> set[str]:
    found = {f"refractory {neuron.refractory_steps}"}
    if neuron.kind == "lif":
        found |= {f"du {d}" for d in (0, 1, 4095) if d in neuron.du} | {
            f"dv {d}" for d in (0, 1, 4095) if d in neuron.dv
        }
        found |= {"bias"} if neuron.bias_mant.any() else set()
    else:
        found |= {f"reset {neuron.reset_action}", neuron.rounding}
        found |= {f"refractory {neuron.refractory_mode}"} if neuron.refractory_steps else set()
    return found


def _at_edge(synapse: QuantizedDense) -> bool:
    low, high = code_range(synapse.sign_mode, synapse.bits)
    return bool((synapse.weight == low).any() and (synapse.weight == high).any())
