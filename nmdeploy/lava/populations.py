"""The families of populations that Lava can run: one entry a family, which its module fills."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nmdeploy.lava import dense_state_space, gated_linear_unit, integrator, lif, state_space, windowed_state_space
from nmdeploy.lava.population import Population
from nmdeploy.lava.synapses import KINDS as SYNAPSES


def _input(node: dict[str, Any]) -> Population:
    binary = node["format"]["bits"] == 1 and not node["format"]["signed"]
    return Population(inputs=0, outputs=int(np.prod(node["shape"])), make=None, binary=binary)


MODULES = (lif, state_space, dense_state_space, windowed_state_space, gated_linear_unit, integrator)
FAMILIES: dict[str, Callable[[dict[str, Any]], Population]] = {
    "input": _input,
    **{module.KIND: module.describe for module in MODULES},
}


def describe(path: str | Path, nodes: dict[str, Any]) -> dict[str, Population]:
    """Populations of a model, its input among them, by name.

    Raises
    ------
    ValueError
        There is no Lava Process for a kind of node, a field is missing, or outside of its limits.
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
