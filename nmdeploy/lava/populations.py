"""Families of populations that Lava can run, with one entry per family, from the family's module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.lava import (
    dense_state_space,
    filtered_integrator,
    gated_linear_unit,
    integrator,
    lif,
    state_space,
    windowed_state_space,
)
from nmdeploy.lava.population import Population
from nmdeploy.lava.synapses import KINDS as SYNAPSES


def _input(node: dict[str, Any]) -> Population:
    binary = node["format"]["bits"] == 1 and not node["format"]["signed"]
    return Population(inputs=0, outputs=int(np.prod(node["shape"])), make=None, binary=binary)


MODULES = (
    lif,
    state_space,
    dense_state_space,
    windowed_state_space,
    gated_linear_unit,
    integrator,
    filtered_integrator,
)
FAMILIES: dict[str, Callable[[dict[str, Any]], Population]] = {
    "input": _input,
    **{module.KIND: module.describe for module in MODULES},
}


def describe(path: str | Path, nodes: dict[str, Any]) -> dict[str, Population]:
    """Return the populations of a model by name, its input among them.

    Raises
    ------
    ValueError
        A kind of node has no Lava Process, a field is missing, or a field exceeds its limits.
    """
    populations = {}
    for name, node in nodes.items():
        kind = node.get("kind")
        if kind in SYNAPSES:
            continue
        if kind not in FAMILIES:
            known = ", ".join((*FAMILIES, *SYNAPSES))
            raise ValueError(f"{path}: node {name!r}: kind {kind!r} has no Lava Process; known are {known}")
        try:
            populations[name] = FAMILIES[kind](node)
        except KeyError as error:
            raise ValueError(f"node {name!r} has no field {error}") from error
        except ValueError as error:
            raise ValueError(f"node {name!r}: {error}") from error
    return populations
