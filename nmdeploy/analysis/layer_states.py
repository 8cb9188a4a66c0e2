"""State of each layer on the samples, and what the run alone shows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.activity import Activity
from nmdeploy.analysis.beside import Beside
from nmdeploy.analysis.finding import RUN, Finding, which
from nmdeploy.analysis.metrics import overflows, saturated_share
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.recording.types import Recording, totals

NOTHING_ARRIVES, FAR = "nothing arrives", "far off"
LIMIT_SHARE = 1e-3
"""Share of the updates at a limit from which on it is named."""


@dataclass(frozen=True)
class LayerState:
    """State of one population on the samples.

    Parameters
    ----------
    name : str
    state : str
        "as the float network", "active", "far off", "silent", "nothing arrives" or "always spikes".
    rate, float_rate : float or None
        Spikes per output and step of the integers and of the float network.
    difference : float or None
        Difference from the float population on the same inputs: differing spikes per spike, at most 1; of membranes,
        the energy of the error per energy of the membrane.
    limits : mapping of str to int
        Updates at which a register saturated or wrapped, by register, if there were any.
    """

    name: str
    state: str
    rate: float | None
    float_rate: float | None
    difference: float | None
    limits: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self) | {"limits": dict(self.limits)}


def layer_states(
    network: QuantizedNetwork,
    recording: Recording,
    integers: Mapping[str, Activity],
    beside: Beside | None,
) -> Iterator[LayerState]:
    counts = overflows(network, totals(recording))
    for name, held in integers.items():
        yield LayerState(
            name=name,
            state=_state(network, name, integers, beside),
            rate=float(held.rates.mean()) if held.spiking else None,
            float_rate=float(beside.sent.activity[name].rates.mean()) if beside and held.spiking else None,
            difference=None if beside is None else beside.shares[name],
            limits={flag: number for flag, number in counts.get(name, {}).items() if number},
        )


def _state(network: QuantizedNetwork, name: str, activity: Mapping[str, Activity], beside: Beside | None) -> str:
    held = activity[name]
    if held.spiking and held.silent.all():
        return f.SILENT if reached(network, name, activity) else NOTHING_ARRIVES
    if held.spiking and held.always.all():
        return f.ALWAYS_SPIKES
    if beside is None:
        return "active"
    return FAR if beside.is_far(name) else "as the float network"


def run_findings(
    network: QuantizedNetwork,
    recording: Recording,
    integers: Mapping[str, Activity],
    beside: Beside | None,
    named: set[str],
) -> Iterator[Finding]:
    """Yield what the run shows of populations that nothing else explains, and states at their limit."""
    counts = overflows(network, totals(recording))
    for name, neuron in network.populations.items():
        held, everyone = integers[name], tuple(range(neuron.size))
        if saturated_share(network, recording, name) > LIMIT_SHARE:
            words = ", ".join(f"{flag} {number}" for flag, number in counts[name].items() if number)
            text = f"states reach the end of their width ({words}): they are cut off or wrap around"
            yield Finding(name, f.AT_LIMIT, "states", everyone, text, RUN)
        elif name not in named and beside is not None and beside.is_far(name):
            text = "no single tensor explains the difference: its states and sums are rounded in each step"
            yield Finding(name, f.STATES_ROUNDED, "states", everyone, text, RUN)
        if not named & populations_before(network, name) and held.spiking and reached(network, name, integers):
            for fault, at in ((f.SILENT, held.silent), (f.ALWAYS_SPIKES, held.always)):
                if at.all():
                    text = f"{which(everyone, neuron.size)}: no number explains it, and something arrives"
                    yield Finding(name, fault, "spikes", everyone, text, RUN)


def reached(network: QuantizedNetwork, name: str, activity: Mapping[str, Activity]) -> bool:
    """Return True if a population gets an event from the input or from a population that spikes."""
    sources = {edge.source for synapse in network.incoming[name] for edge in network.incoming[synapse.source]} - {name}
    return any(source == network.input_name or activity[source].rates.any() for source in sources)


def populations_before(network: Network | QuantizedNetwork, name: str) -> set[str]:
    """Return the populations that a population gets its inputs from over any way, and itself."""
    found, front = {name}, [name]
    while front:
        new = {edge.source for edge in network.incoming[front.pop()]} - found
        found |= new
        front += new
    return found & network.populations.keys()
