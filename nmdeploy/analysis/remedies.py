"""Options that would help against the findings of a diagnosis, most helpful first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.finding import CHANGED, NETWORK, ROUNDING, RUN, Finding
from nmdeploy.network.network import QuantizedNetwork

STATIC = "static worst-case bounds"
WEIGHT_BITS_MAX = 8
WIDTHS_OF_THEIR_OWN = ("state_space", "dense_state_space", "windowed_state_space")
"""Families whose coefficients have a width that an option sets."""


@dataclass(frozen=True)
class Option:
    """An option of `nmdeploy export`, or an empty text where none helps, and what it is good for."""

    option: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def options(
    network: QuantizedNetwork, findings: Sequence[Finding], readings: Sequence[Option] = ()
) -> tuple[Option, ...]:
    """Return the remedies in the order of the findings that they help against, each once.

    `readings` are options that say what was assumed of the source. They come before what helps against findings that
    only the run shows, and are left out where a finding has the same option.
    """
    found: dict[Option, None] = {}
    for each in findings:
        if each.origin != RUN:
            found.update(dict.fromkeys(_options(network, each)))
    known = {option.option for option in found}
    found.update(dict.fromkeys(option for option in readings if option.option not in known))
    for each in findings:
        if each.origin == RUN:
            found.update(dict.fromkeys(_options(network, each)))
    return tuple(found)


def _options(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    if finding.origin == CHANGED:
        yield Option("", "export the model again: these integers are not those of the checkpoint")
        return
    remedies = _NETWORK if finding.origin == NETWORK else _ROUNDING if finding.origin == ROUNDING else _RUN
    remedy = remedies.get(finding.fault)
    if remedy is not None:
        yield from remedy(network, finding)


def _dt(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield Option("--dt", f"give the seconds per step of the training: the model has {network.dt:g}")
    yield Option("", f"{finding.population}: train {finding.tensor} again, with time constants over one step")


def _rescale(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    at = f.which(finding.neurons, network.populations[finding.population].size)
    yield Option("", f"{finding.population}, {at}: train {finding.tensor} again, or correct it in the source")


def _data(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    if any(STATIC in note for note in network.notes):
        yield Option("--data", "calibration samples: the scales of this model are worst-case bounds")


def _reach(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield from _rescale(network, finding)
    yield Option("--data", "samples that drive the network as those of the training did: these do not reach it")


def _weight_bits(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield from _data(network, finding)
    synapses = [network.synapses[edge.source] for edge in network.incoming[finding.population]]
    if synapses and min(synapse.bits for synapse in synapses) < WEIGHT_BITS_MAX:
        yield Option("--weight-bits", f"{WEIGHT_BITS_MAX}, the most: small weights are kept")
    elif finding.fault != f.STATES_ROUNDED:
        yield Option(
            "",
            f"{finding.population}: divide the weights, the bias and the threshold of its largest rows by one factor "
            "each: its rows are of unlike magnitude, and the function stays the same",
        )


def _widths(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    """Widths that a family can choose: those of rule ``loihi`` are fixed."""
    yield from _data(network, finding)
    if network.populations[finding.population].kind in WIDTHS_OF_THEIR_OWN:
        yield Option("--coefficient-bits", "more bits per coefficient")
        yield Option("--coefficient-frac", "more fraction bits of A, where its magnitudes leave room")
    else:
        yield Option("", f"{finding.population}: train it as a state-space neuron: its decays have 12 bits here")


def _state_bits(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield from _data(network, finding)
    yield Option("--data", "samples with the largest activity: the states are scaled to what they reach")
    if network.populations[finding.population].kind != "lif":
        yield Option("--state-bits", "more bits per state, where the model has fewer than the profile allows")


Remedy = Callable[[QuantizedNetwork, Finding], Iterator[Option]]
_NETWORK: dict[str, Remedy] = {
    f.TAU_UNDER_DT: _dt,
    f.ROW_SCALED: _rescale,
    f.SIGN_FLIPPED: _rescale,
    f.OUT_OF_REACH: _reach,
    f.THRESHOLD_OFF: _rescale,
    f.BIAS_OFF: _rescale,
    f.DECAY_OFF: _dt,
}
_ROUNDING: dict[str, Remedy] = {
    f.ROW_ROUNDED_TO_0: _weight_bits,
    f.ROW_SCALED: _weight_bits,
    f.SIGN_FLIPPED: _weight_bits,
    f.WEIGHTS_OFF: _weight_bits,
    f.BIAS_OFF: _weight_bits,
    f.OUT_OF_REACH: _data,
    f.THRESHOLD_OFF: _data,
    f.DECAY_OFF: _widths,
    f.TAU_UNDER_DT: _widths,
    f.COEFFICIENT_OFF: _widths,
}
_RUN: dict[str, Remedy] = {
    f.AT_LIMIT: _state_bits,
    f.STATES_ROUNDED: _weight_bits,
    f.SILENT: _reach,
    f.ALWAYS_SPIKES: _rescale,
    f.ROW_ROUNDED_TO_0: _weight_bits,
}
