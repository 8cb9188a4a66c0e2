"""Populations with float32 lanes, made of formulas, and the values that are computed in them."""

from __future__ import annotations

from typing import Any

from engine_analysis import proved
from equal_runs import both
from formula_neuron import FormulaNeuron
from networks_build import Case

from nmdeploy.engine.bounds.simplification import simplify
from nmdeploy.engine.llvm import machine
from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.lower.lanes import Lane, LaneChoice
from nmdeploy.neurons.ops import rz

SINGLE = 1 << 24


def held_lanes(case: Case) -> dict[str, Lane]:
    """Return the lane of each formula's value, of a case whose runs agree."""
    both(case.network, case.inputs)
    population = compile_network(case.network, "states").populations["n"]
    names = [*case.network.populations["n"].formulas]  # type: ignore[attr-defined]
    return dict(zip(names, (register.lane for register in population.layout.registers[2:]), strict=True))


def rounding_lanes(case: Case) -> dict[str, Lane]:
    """Return the lanes in which each formula's `rz` is computed; its register may be narrower."""
    found = proved(case.network, "n")
    simple, bounds = simplify(found.step, found.bounds)
    choice = LaneChoice(simple, bounds, machine.can_set_rounding())
    names = [*case.network.populations["n"].formulas]  # type: ignore[attr-defined]
    nodes = [register.new.node for register in simple.registers.values()][2:]
    return {name: choice.lane(node) for name, node in zip(names, nodes, strict=True) if node.op == "rz"}


def formulas(**found: Any) -> FormulaNeuron:
    """Return formulas with a rounding of a small value, which gives the population float32 lanes."""
    return FormulaNeuron(1, 1, {"rounded": lambda e: rz(e.y * 3, 1), **found}, inputs=1)
