"""Descriptions of the populations of a network, before their Processes are made."""
# mypy: disable-error-code="import-not-found,import-untyped"

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from lava.magma.core.process.process import AbstractProcess

from nmdeploy.lava.mechanisms import SIGNED, Mechanisms
from nmdeploy.lava.trace import Trace

T = TypeVar("T")


@dataclass(frozen=True)
class Placement:
    """Place and time of a population in a network.

    Attributes
    ----------
    name : str
        Name of the node.
    start : int
        Lava time step of the population's own step 0.
    interval : int
        Steps between the starts of two samples.
    steps : int
        Steps of a sample.
    trace : Trace or None
        Recording, if any.
    send_every : int
        Steps between two messages: the steps of a window if every receiver has a `Latch`, else 1.
    """

    name: str
    start: int
    interval: int
    steps: int
    trace: Trace | None = None
    send_every: int = 1

    @property
    def common(self) -> dict[str, Any]:
        """Arguments that every Process of this package takes."""
        return {**self.timing, "trace": self.trace}

    @property
    def timing(self) -> dict[str, Any]:
        """Arguments that Intel's Processes take too."""
        return {"reset_interval": self.interval, "reset_offset": self.start % self.interval, "name": self.name}


@dataclass(frozen=True)
class Population:
    """One population of a model, or its input.

    Attributes
    ----------
    inputs, outputs : int
        Size of the synaptic sum that it receives, and of the vector that it sends.
    make : callable or None
        Function from a `Placement` to the Process; None for the input.
    spikes : tuple of str
        Names of the arrays to record of its output.
    states : tuple of str
        Names of further arrays to record.
    binary : bool
        True if it sends 0 and 1 only.
    output_latency : int
        Number of steps from an input to its output.
    window : int
        Steps of its windows.
    send_once : bool
        True if its output is 0 in all steps of a window except the first.
    memoryless : bool
        True if its output depends on the present input alone. It then has the windows of its sources.
    """

    inputs: int
    outputs: int
    make: Callable[[Placement], AbstractProcess] | None
    spikes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    binary: bool = True
    output_latency: int = 0
    window: int = 1
    send_once: bool = False
    memoryless: bool = False


def from_node(kind: Callable[..., T], node: dict[str, Any], without: tuple[str, ...] = ()) -> T:
    """Return the dataclass `kind` made of the fields of a node; fields in `without` keep their defaults.

    Raises
    ------
    KeyError
        The node lacks a field.
    """
    names = [field.name for field in fields(kind) if field.name not in without]  # type: ignore[arg-type]
    return kind(**{name: node[name] for name in names})


def describe_spiking(node: dict[str, Any], process: Any, dynamics_kind: Any) -> Population:
    """Return the population of a `SpikingProcess` with dynamics of `dynamics_kind`."""
    dynamics, mechanisms = from_node(dynamics_kind, node), from_node(Mechanisms, node)
    soma = ("v",) * mechanisms.soma + ("w",) * mechanisms.adaptation
    return Population(
        inputs=dynamics.neurons * dynamics.inputs,
        outputs=dynamics.neurons * dynamics.outputs,
        make=lambda place: process(dynamics=dynamics, mechanisms=mechanisms, **place.common),
        spikes=("spikes",),
        states=(*dynamics.registers, "y", *soma),
        binary=mechanisms.spike not in SIGNED,
    )
