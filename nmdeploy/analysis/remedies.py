"""Options that would help against the findings of a diagnosis, most helpful first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nmdeploy.analysis import finding as f
from nmdeploy.analysis.finding import CHANGED, NETWORK, ROUNDING, RUN, Finding
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.quantization.effect_notes import tensor_remedy
from nmdeploy.quantization.effects import BIASES, WEIGHTS

STATIC = "static worst-case bounds"
SYNAPSE_TENSORS = {"weight": WEIGHTS, "bias": BIASES}
"""Tensors of synapses, in the words of the quantizer."""


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
    if finding.origin == ROUNDING:
        yield from _rounding(network, finding)
        return
    remedy = (_NETWORK if finding.origin == NETWORK else _RUN).get(finding.fault)
    if remedy is not None:
        yield from remedy(network, finding)


def _dt(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield Option("--dt", f"give the seconds per step of the training: the model has {network.dt:g}")
    yield Option("", f"{finding.population}: train {finding.tensor} again, with time constants over one step")


def _rescale(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    at = f.which(finding.neurons, network.populations[finding.population].size)
    yield Option("", f"{finding.population}, {at}: train {finding.tensor} again, or correct it in the source")


def _calibration(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    if any(STATIC in note for note in network.notes):
        yield Option("--data", "calibration samples: the scales of this model are worst-case bounds")


OTHER_SAMPLES = Option("--data", "samples that drive the network as those of the training did: these do not reach it")


def _reach(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield from _rescale(network, finding)
    yield OTHER_SAMPLES


def _spikes(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    at = f.which(finding.neurons, network.populations[finding.population].size)
    yield OTHER_SAMPLES
    yield Option("", f"{finding.population}, {at}: look at its weights and its threshold in the training")


def _rounding(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    """Yield what lowers the effect of a tensor: calibration data, and what `export` says of it."""
    yield from _calibration(network, finding)
    node, _, tensor = finding.tensor.rpartition(" ")
    held = (node, SYNAPSE_TENSORS[tensor]) if node else (finding.population, tensor)
    text = tensor_remedy(network, finding.population, *held)
    more = re.match(r"give more (--[a-z-]+)", text)
    yield Option(more[1] if more else "", f"{finding.population}: {text}")


def _state_bits(network: QuantizedNetwork, finding: Finding) -> Iterator[Option]:
    yield from _calibration(network, finding)
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
_RUN: dict[str, Remedy] = {
    f.AT_LIMIT: _state_bits,
    f.STATES_ROUNDED: _rounding,
    f.SILENT: _spikes,
    f.ALWAYS_SPIKES: _spikes,
}
