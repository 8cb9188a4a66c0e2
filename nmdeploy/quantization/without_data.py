"""Quantization without calibration data: scales from bounds of the weights alone, or a request for data.

A bound holds for any input, and may lie far over what a population ever reaches. If the integers of such a bound do not
fit, those of calibrated ranges may.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nmdeploy.errors import CalibrationNeeded, DoesNotFit, NmdeployError, OverflowPossible
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.quantization.post_training import Ranges, population_bounds, quantize_network

TRIED = (0, 5, 10, 15)
"""Bits by which a network's ranges may lie under its bounds."""


def quantize_without_data(network: Network, config: QuantizationConfig, profile: str) -> QuantizedNetwork:
    """Return the integers of static bounds.

    Raises
    ------
    CalibrationNeeded
        A population has no static bound, or its bound does not fit and smaller ranges would.
    DoesNotFit, OverflowPossible
        No ranges would fit.
    """
    try:
        return quantize_network(network, config, profile=profile)
    except (DoesNotFit, OverflowPossible) as error:
        if quantize_plausibly(network, config, profile) is None:
            raise
        what = ": ".join(str(error).split(": ")[:2])
        raise CalibrationNeeded(
            f"{what} with static worst-case bounds: give calibration data (--data), whose ranges are smaller"
        ) from None


def quantize_plausibly(network: Network, config: QuantizationConfig, profile: str) -> QuantizedNetwork | None:
    """Return the integers of the first of several plausible ranges that fit; None if none of them does."""
    for ranges in plausible_ranges(network):
        try:
            return quantize_network(network, config, ranges=ranges, profile=profile)
        except NmdeployError:
            continue
    return None


def plausible_ranges(network: Network) -> Iterator[Ranges]:
    """Yield the static bounds of each population, 1 for one that has none, and smaller ranges."""
    bounds: dict[str, dict[str, np.ndarray]] = {}
    for name, neuron in network.populations.items():
        bounds[name] = {key: np.ones_like(value) for key, value in neuron.observe(neuron.start(1)).items()}
    for name in network.populations:
        try:
            bounds[name] = dict(population_bounds(network, name, bounds))
        except NmdeployError:
            continue
    for bits in TRIED:
        yield {name: {key: np.ldexp(value, -bits) for key, value in held.items()} for name, held in bounds.items()}
