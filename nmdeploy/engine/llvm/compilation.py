"""Compilation of a network into a program: every node is traced, bounded, simplified and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.bounds.fixed_point import analyse
from nmdeploy.engine.bounds.interval_arithmetic import Bound
from nmdeploy.engine.bounds.simplification import simplify
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.llvm.driver import write_driver
from nmdeploy.engine.llvm.inputs import write_input
from nmdeploy.engine.llvm.population import write_population
from nmdeploy.engine.llvm.synapses import CHUNK, write_rows
from nmdeploy.engine.lower.lanes import LaneChoice
from nmdeploy.engine.lower.layout import Form, RowsForm
from nmdeploy.engine.lower.order import components
from nmdeploy.engine.lower.program import KERNEL, Population, Program, Rows, Wires, is_recorded, ranges
from nmdeploy.engine.lower.schedule import loop_sizes
from nmdeploy.engine.trace.step import Step, trace
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.network.graph import Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse

LANES, LANES_OF_LOOPS = 32, 16


def module() -> ir.Module:
    """Return an empty module."""
    made = ir.Module(name=KERNEL)
    made.triple = machine.triple()
    return made


def driver_text() -> str:
    """Return the driver's module as text."""
    made = module()
    write_driver(made, KERNEL)
    return str(made)


def input_text(dtype: np.dtype[Any], binary: bool) -> str:
    """Return the module of the kernel that reads input codes of a type, as text."""
    made = module()
    write_input(made, KERNEL, 8 * dtype.itemsize, dtype.kind == "i", binary)
    return str(made)


def compile_network(network: QuantizedNetwork, trace_level: str = "none") -> Program:
    """Trace, bound, simplify and write every node of a network.

    Raises
    ------
    NotTraceable
        The step of a population cannot be compiled; the message names the population.
    """
    groups = tuple((tuple(names), loop) for names, loop in components(network))
    order = tuple(name for names, _ in groups for name in names)
    steps = {name: _step(network, name) for name in network.populations}
    wires: dict[str, Wires] = {network.input_name: _input_wires(network.input)}
    wires |= {name: _wires(neuron, *steps[name]) for name, neuron in network.populations.items()}
    populations = {name: _population(network, name, *steps[name], wires[name], trace_level) for name in steps}
    synapses = {name: _rows(network, name, wires, populations) for name in network.synapses}
    return Program(network, trace_level, groups, order, ranges(groups), populations, synapses, wires)


def _step(network: QuantizedNetwork, name: str) -> tuple[Step, LaneChoice]:
    neuron = network.populations[name]
    incoming = {edge.source: network.synapses[edge.source] for edge in network.incoming[name]}
    try:
        step = trace(neuron, incoming)
        sums = {each: _per_neuron(neuron, sum_bound(network, each)) for each in incoming}
        simpler, bounds = simplify(step, analyse(step, sums))
        return simpler, LaneChoice(simpler, bounds, machine.can_set_rounding())
    except NotTraceable as error:
        raise not_compilable(name, neuron, error) from None


def not_compilable(name: str, neuron: QuantizedNeuron, error: Exception) -> NotTraceable:
    """Return the error for a population whose step cannot be compiled."""
    return NotTraceable(
        f"population {name!r} ({neuron.kind}) cannot be compiled ({error}): run it with --backend reference"
    )


def _per_neuron(neuron: QuantizedNeuron, bound: Bound) -> Bound:
    width = neuron.input_size // neuron.size
    return bound if width == 1 else Bound(*(ends.reshape(neuron.size, width) for ends in bound))


def output_bounds(network: QuantizedNetwork, name: str) -> tuple[int, int]:
    """Return the lowest and highest output of a node."""
    node = network.nodes[name]
    if isinstance(node, Input):
        return min(node.format.min, 0), node.format.max
    assert isinstance(node, QuantizedNeuron)
    return -node.output_max, node.output_max


def sum_bound(network: QuantizedNetwork, synapse: str) -> Bound:
    """Return the lowest and highest sum of each output as (outputs,) arrays, for any order of its terms."""
    ends = [output_bounds(network, edge.source) for edge in network.incoming[synapse]]
    low, high = sum(min(low, 0) for low, _ in ends), sum(max(high, 0) for _, high in ends)
    matrix = network.synapses[synapse].matrix.astype(np.float64)
    positive, negative = np.maximum(matrix, 0).sum(1), np.minimum(matrix, 0).sum(1)
    return Bound(positive * low + negative * high, positive * high + negative * low)


def _input_wires(node: Input) -> Wires:
    coded = (node.format.min, node.format.max) != (0, 1)
    return Wires(coded, node.size, 1, -(-node.size // 8) * 8)


def _wires(neuron: QuantizedNeuron, step: Step, choice: LaneChoice) -> Wires:
    planes = neuron.output_size // neuron.size
    # Planes of equally many neurons are equally wide, whatever the blocks: their outputs may be summed.
    unit = _lanes(neuron, step, choice) if planes == 1 else 2 * LANES
    return Wires(not step.output.node.boolean, neuron.output_size, planes, -(-neuron.size // unit) * unit)


def _lanes(neuron: QuantizedNeuron, step: Step, choice: LaneChoice) -> int:
    """Return the neurons per block.

    Blocks are larger if a neuron takes little work, so that the processor always has independent operations.
    """
    most = LANES_OF_LOOPS if any(loop_sizes(r.old.node.dims) for r in step.registers.values()) else LANES
    return min(2 * most if choice.narrow else most, max(8, 1 << (neuron.size - 1).bit_length()))


def _population(
    network: QuantizedNetwork, name: str, step: Step, choice: LaneChoice, own: Wires, level: str
) -> Population:
    neuron = network.populations[name]
    lanes = _lanes(neuron, step, choice)
    form = Form(
        lanes=lanes,
        ragged=neuron.size != own.width,
        sums={each: sum_bits(network, each) for each in step.sums},
        output_latency=neuron.output_latency,
        send_steps=network.timing.send_steps[name],
        coded=own.coded,
        recorded=not own.coded and is_recorded(network, name, level),
        traced=level == "states",
    )
    made = module()
    try:
        layout = write_population(made, KERNEL, step, choice, form, own.width // lanes)
    except NotTraceable as error:
        raise not_compilable(name, neuron, error) from None
    return Population(str(made), form, layout, own.width // lanes, own)


def sum_bits(network: QuantizedNetwork, synapse: str) -> int:
    """Return the width of the accumulators: 16 bits if no sum can exceed them, else 32."""
    low, high = sum_bound(network, synapse)
    return 16 if low.min(initial=0) >= -(2**15) and high.max(initial=0) < 2**15 else 32


def _rows(
    network: QuantizedNetwork, name: str, wires: Mapping[str, Wires], populations: Mapping[str, Population]
) -> Rows:
    synapse = network.synapses[name]
    sources = [wires[edge.source] for edge in network.incoming[name]]
    if len({(w.planes, w.width if w.planes > 1 else 0) for w in sources}) > 1:
        raise NotTraceable(
            f"synapse {name!r} cannot be compiled (its sources have different numbers of outputs per neuron): "
            "run it with --backend reference"
        )
    target = network.target[name]
    width = populations[target].wires.width
    planes = network.populations[target].input_size // network.populations[target].size
    inputs = min(w.entries for w in sources) if sources[0].planes > 1 else -(-sources[0].size // 8) * 8
    weights = _weights(synapse, sources[0].place(), inputs, planes, width)
    fan_out = np.zeros(inputs + 1, np.int64)
    fan_out[sources[0].place()] = synapse.fan_out
    form = RowsForm(
        sources=tuple("codes" if w.coded else "bits" for w in sources),
        row_bits=8 * weights.itemsize,
        sum_bits=sum_bits(network, name),
        tail=(planes * width) % CHUNK,
        chunks=planes * width >= CHUNK,
        counted=bool((synapse.fan_out != synapse.fan_out[:1]).any()),
        hold_steps=network.timing.hold_steps[name],
        event_bits=next(bits for bits in (8, 16, 32) if inputs < 1 << bits),
        compress=machine.has("avx512vbmi2"),
        paired=_may_pair_rows(sources, weights, sum_bits(network, name)) and machine.has("avx512bw"),
    )
    made = module()
    write_rows(made, KERNEL, form)
    return Rows(str(made), form, weights, fan_out, inputs)


def _may_pair_rows(sources: Sequence[Wires], weights: Any, bits: int) -> bool:
    """Return True if rows of weights of spikes may be added two at a time."""
    return (
        len(sources) == 1
        and not sources[0].coded
        and weights.itemsize == 1
        and bits == 16
        and not weights.shape[1] % 64
    )


def _weights(synapse: QuantizedSynapse, place: IntArray, inputs: int, planes: int, width: int) -> Any:
    """Return weights (inputs + 1, planes * width) in the narrowest type, in the order of both memories."""
    matrix = synapse.matrix
    low, high = matrix.min(initial=0), matrix.max(initial=0)
    kinds = [kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max]
    if not kinds:
        raise NotTraceable(
            f"a synapse with weights {low} to {high} cannot be compiled: run it with --backend reference"
        )
    kind = kinds[0]
    rows = np.zeros((inputs + 1, planes, width), kind)
    neurons = matrix.shape[0] // planes
    rows[place, :, :neurons] = matrix.T.reshape(-1, neurons, planes).transpose(0, 2, 1)
    return rows.reshape(inputs + 1, planes * width)
