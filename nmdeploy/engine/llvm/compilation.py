"""Compilation of a network into a program: every node is traced, bounded, simplified, lowered and written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nmdeploy.engine.bounds.fixed_point import analyse
from nmdeploy.engine.bounds.interval_arithmetic import Bound
from nmdeploy.engine.bounds.simplification import simplify
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.llvm.driver import write_driver
from nmdeploy.engine.llvm.inputs import write_input
from nmdeploy.engine.llvm.population import Kernel
from nmdeploy.engine.llvm.rows import module, plan_rows, sum_bits, sum_bound
from nmdeploy.engine.lower.lanes import LaneChoice
from nmdeploy.engine.lower.layout import Form
from nmdeploy.engine.lower.order import components
from nmdeploy.engine.lower.program import KERNEL, Population, Program, Wires, is_recorded, ranges
from nmdeploy.engine.lower.schedule import loop_sizes
from nmdeploy.engine.lower.statements import Lowered
from nmdeploy.engine.lower.stepping import StepWriter
from nmdeploy.engine.trace.step import Step, trace
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.network.graph import Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import QuantizedNeuron

LANES, LANES_OF_LOOPS = 32, 16


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


def compile_network(network: QuantizedNetwork, trace_level: str = "none", forms: Sequence[str] = ()) -> Program:
    """Trace, bound, simplify and write every node of a network.

    `forms` are those of the rows of all synapses; by default those that may be the fastest.

    Raises
    ------
    NotTraceable
        The step of a population cannot be compiled; the message names the population.
    """
    groups = tuple((tuple(names), loop) for names, loop in components(network))
    order = tuple(name for names, _ in groups for name in names)
    lowered = {name: lower_population(network, name, trace_level) for name in network.populations}
    populations = {name: _population(*found) for name, found in lowered.items()}
    wires: dict[str, Wires] = {network.input_name: _input_wires(network.input)}
    wires |= {name: found.wires for name, found in populations.items()}
    targets = {name: populations[target].wires for name, target in network.target.items()}
    rows = {name: plan_rows(network, name, wires, targets[name], forms) for name in network.synapses}
    synapses = {name: found[0] for name, found in rows.items()}
    others = {name: found[1] for name, found in rows.items() if len(found) > 1}
    return Program(network, trace_level, groups, order, ranges(groups), populations, synapses, others, wires)


def lower_population(network: QuantizedNetwork, name: str, trace_level: str = "none") -> tuple[Wires, Form, Lowered]:
    """Return a population's outputs in memory, its form, and its statements, of which `str` is the text."""
    neuron = network.populations[name]
    incoming = {edge.source: network.synapses[edge.source] for edge in network.incoming[name]}
    try:
        step = trace(neuron, incoming)
        sums = {each: _per_neuron(neuron, sum_bound(network, each)) for each in incoming}
        step, bounds = simplify(step, analyse(step, sums))
        choice = LaneChoice(step, bounds, machine.can_set_rounding())
        wires, lanes = _wires(neuron, step, choice), _lanes(neuron, step, choice)
        form = Form(
            lanes=lanes,
            ragged=neuron.size != wires.width,
            sums={each: sum_bits(network, each) for each in step.sums},
            output_latency=neuron.output_latency,
            send_steps=network.timing.send_steps[name],
            coded=wires.coded,
            recorded=not wires.coded and is_recorded(network, name, trace_level),
            traced=network.traces_states(name, trace_level),
        )
        return wires, form, StepWriter(step, choice, form).lower(wires.width // lanes)
    except NotTraceable as error:
        refused = f"population {name!r} ({neuron.kind}) cannot be compiled ({error})"
        raise NotTraceable(f"{refused}: run it with --backend reference") from None


def _population(wires: Wires, form: Form, lowered: Lowered) -> Population:
    made = module()
    Kernel(made, KERNEL, lowered, form).write()
    return Population(str(made), form, lowered.layout, wires.width // form.lanes, wires)


def _per_neuron(neuron: QuantizedNeuron, bound: Bound) -> Bound:
    width = neuron.input_size // neuron.size
    return bound if width == 1 else Bound(*(ends.reshape(neuron.size, width) for ends in bound))


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
