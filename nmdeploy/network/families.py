"""Registry of the neuron and synapse families: the modules of the two folders, and those that others register.

A third party registers a module under the entry point group ``nmdeploy.neurons`` or ``nmdeploy.synapses``. The module
defines subclasses with a ``kind`` of their own, as the files of those folders do.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from nmdeploy._util.plugins import modules
from nmdeploy.errors import BadFile
from nmdeploy.neurons.base import Neuron, QuantizedNeuron
from nmdeploy.synapses.base import QuantizedSynapse, Synapse

Base = TypeVar("Base", bound=type)


def _by_kind(package: str, base: type) -> dict[str, type]:
    found: dict[str, type] = {}
    for module in modules(package):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and "kind" in vars(value):
                found[value.kind] = value  # type: ignore[attr-defined]
    return found


@cache
def neurons() -> dict[str, type[Neuron]]:
    """Return the float neuron families by kind."""
    return _by_kind("nmdeploy.neurons", Neuron)


@cache
def quantized_neurons() -> dict[str, type[QuantizedNeuron]]:
    """Return the integer neuron families by kind."""
    return _by_kind("nmdeploy.neurons", QuantizedNeuron)


@cache
def synapses() -> dict[str, type[Synapse]]:
    """Return the float synapse families by kind."""
    return _by_kind("nmdeploy.synapses", Synapse)


@cache
def quantized_synapses() -> dict[str, type[QuantizedSynapse]]:
    """Return the integer synapse families by kind."""
    return _by_kind("nmdeploy.synapses", QuantizedSynapse)


def floats(name: str, kind: str) -> type[Neuron] | type[Synapse]:
    """Return the float family of a node's kind; `BadFile` if it is not installed."""
    known: dict[str, type[Neuron] | type[Synapse]] = {**synapses(), **neurons()}
    if kind not in known:
        raise _unknown(name, kind)
    return known[kind]


def quantized(name: str, kind: str) -> type[QuantizedNeuron] | type[QuantizedSynapse]:
    """Return the integer family of a node's kind; `BadFile` if it is not installed."""
    known: dict[str, type[QuantizedNeuron] | type[QuantizedSynapse]] = {**quantized_synapses(), **quantized_neurons()}
    if kind not in known:
        raise _unknown(name, kind)
    return known[kind]


def _unknown(name: str, kind: str) -> BadFile:
    return BadFile(f"node {name!r}: kind {kind!r} is unknown here: update nmdeploy or install the package that adds it")
