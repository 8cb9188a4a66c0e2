"""Populations with float32 lanes, made of formulas, and the values that are computed in them."""

from __future__ import annotations

from typing import Any

from equal_runs import both
from formula_neuron import FormulaNeuron
from networks_build import Case

from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.neurons.ops import rz

SINGLE = 1 << 24


def held_lanes(case: Case) -> dict[str, Lane]:
    """Return the lane of each formula's value, of a case whose runs agree."""
    both(case.network, case.inputs)
    population = compile_network(case.network, "states").populations["n"]
    names = [*case.network.populations["n"].formulas]  # type: ignore[attr-defined]
    return dict(zip(names, (register.lane for register in population.layout.registers[2:]), strict=True))


def formulas(**found: Any) -> FormulaNeuron:
    """Return formulas with a rounding of a small value, which gives the population float32 lanes."""
    return FormulaNeuron(1, 1, {"rounded": lambda e: rz(e.y * 3, 1), **found}, inputs=1)
