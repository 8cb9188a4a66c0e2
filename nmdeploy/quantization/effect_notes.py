"""Limits on the effects of rounding, and the line that a population gets over one of them.

With calibration data the outputs decide: what no spike shows is no loss. Without them the change of each tensor does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.quantization.effects import BIASES, FLOORS, STATES, WEIGHTS, Difference, PopulationEffect, TensorEffect

SPIKES_MAX = 0.04
"""Share of a population's spikes that may differ on the calibration data: of other samples about 1 % more may."""
READOUT_MAX = 0.05
"""Error of a readout's worst channel, over the largest channel: classes that are closer than that may be swapped."""
NAMED_SHARE = 0.5
"""A tensor is named if it makes at least this part of the largest effect of a single one."""
LIMITS = {
    "row": 0.1,  # a sum that is off by a tenth drives its neuron a tenth off
    "coefficient": 0.1,  # as a row
    "decay": 0.1,  # the steady membrane is off by a tenth
    "threshold": 0.05,  # the neuron needs a twentieth more or less
    "bias": 0.05,  # it arrives in every step, so that it adds up to more than its share
    "floor": 0.05,  # the same
}
"""Largest change of a tensor by its measure, without calibration data."""
WEIGHT_BITS_MAX = 8
MEASURED = {
    "row": "row {at} is off by {worst}",
    "coefficient": "neuron {at} is off by {worst}",
    "decay": "the steady gain of neuron {at} changes by {worst}",
    "threshold": "that of neuron {at} changes by {worst}",
    "bias": "that of neuron {at} changes by {worst} of its threshold",
    "floor": "neuron {at} loses {worst} of its threshold",
}


def loss_notes(network: QuantizedNetwork, effects: Sequence[PopulationEffect]) -> list[str]:
    """Return a line for each population over a limit: the loss, the tensors that make it, and what helps."""
    return [note for effect in effects for note in _notes(network, effect)]


def _notes(network: QuantizedNetwork, effect: PopulationEffect) -> Iterator[str]:
    if effect.together is None:
        for tensor in effect.tensors:
            if tensor.worst is not None and tensor.worst > LIMITS[tensor.measure]:
                limit = LIMITS[tensor.measure]
                yield (
                    f"population {effect.population!r}: {named(tensor)}: {measured(tensor)}, limit {limit:.0%}: "
                    f"{remedy(network, effect.population, tensor)}"
                )
    elif is_lossy(effect.together):
        yield _counted(network, effect, effect.together)


def is_lossy(together: Difference) -> bool:
    """Return True if the outputs of a population differ by more than their limit."""
    return together.share > (READOUT_MAX if together.spikes is None else SPIKES_MAX)


def _counted(network: QuantizedNetwork, effect: PopulationEffect, together: Difference) -> str:
    causes = main_causes(effect)
    parts = [f"{named(cause)} alone {_share(cause.alone)}{_worst(cause)}" for cause in causes if cause.alone]
    helps = list(dict.fromkeys(remedy(network, effect.population, cause) for cause in causes))
    found = parts or ["all tensors together, its family does not say which"]
    helps = helps or [network.populations[effect.population].remedy(STATES)]
    return (
        f"population {effect.population!r}: {lost(together)} on the calibration data ({effect.samples} samples), "
        f"limit {SPIKES_MAX if together.spikes is not None else READOUT_MAX:.0%}: {', '.join(found)}: "
        f"{'; '.join(helps)}"
    )


def main_causes(effect: PopulationEffect) -> list[TensorEffect]:
    """Return the tensors that make the largest effects by themselves, and the largest in any case."""
    counted = [tensor for tensor in effect.tensors if tensor.alone is not None and tensor.alone.share > 0]
    most = counted[0].alone.share if counted and counted[0].alone else 0.0
    return [tensor for tensor in counted if tensor.alone and tensor.alone.share >= NAMED_SHARE * most]


def percent(share: float) -> str:
    """Return a share in percent, to two digits.

    >>> percent(0.1234), percent(2.0), percent(0.00004), percent(float("inf"))
    ('12%', '200%', '0.004%', 'more than any factor')
    """
    if not np.isfinite(share):
        return "more than any factor"
    value = 100 * share
    digits = 0 if value >= 10 or value <= 0 else min(1 - math.floor(math.log10(value)), 9)
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") + "%" if digits else f"{value:.0f}%"


def lost(together: Difference) -> str:
    """Return the difference of a population's outputs in words."""
    if together.spikes is None:
        return f"its values are off by {percent(together.share)}"
    if not together.spikes:
        return f"the integers send {together.differing} spikes, the float network none"
    return f"{percent(together.share)} of its {together.spikes} spikes differ"


def named(effect: TensorEffect) -> str:
    """Return the tensor and the node that holds it."""
    text = {FLOORS: "floors of the sums of", STATES: "rounding of the states of"}.get(effect.tensor)
    return f"{text or effect.tensor + ' of'} {effect.node!r}"


def measured(effect: TensorEffect) -> str:
    """Return the largest change of a tensor in the unit of its measure, in words; empty if only a run shows it."""
    if effect.worst is None or effect.at is None:
        return ""
    return MEASURED[effect.measure].format(at=effect.at, worst=percent(effect.worst))


def _share(alone: Difference | None) -> str:
    return "" if alone is None else percent(alone.share)


def _worst(effect: TensorEffect) -> str:
    text = measured(effect)
    return f" ({text})" if text else ""


def remedy(network: QuantizedNetwork, population: str, effect: TensorEffect) -> str:
    """Return the option or the change that lowers the effect of a tensor."""
    return tensor_remedy(network, population, effect.node, effect.tensor)


def tensor_remedy(network: QuantizedNetwork, population: str, node: str, tensor: str) -> str:
    """Return what lowers the effect of a tensor that a node holds: a field of the population, or of a synapse."""
    if tensor not in (WEIGHTS, BIASES):
        return network.populations[population].remedy(tensor)
    bits = network.synapses[node].bits
    if bits < WEIGHT_BITS_MAX:
        return f"give more --weight-bits (now {bits})"
    if tensor == BIASES:
        return "retrain with biases of like magnitude"
    return "retrain with the largest weights clipped: all weights of a scale have the step of its largest one"
