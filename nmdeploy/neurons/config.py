"""Formats of a quantization, and what a population's scales are chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nmdeploy.neurons.scales import FloatArray


@dataclass(frozen=True)
class QuantizationConfig:
    """Number formats of a quantization; `HardwareProfile.quantization_config` takes them from a profile.

    ``weight_exp_min`` and ``weight_exp_max`` limit the exponents of weights as the chip holds them (9 bits).
    ``dense_state_space`` is true if the profile's chip runs that family.
    """

    weight_bits: int = 8
    state_bits: int = 24
    coefficient_bits: int = 16
    coefficient_frac: int = 12
    state_rounding: str = "per-product"
    sign_modes: tuple[str, ...] = ("mixed",)
    weight_exp_min: int = -8
    weight_exp_max: int = 7
    dense_state_space: bool = False


@dataclass(frozen=True)
class QuantizationContext:
    """Scale, limits and ranges of a population's inputs and states, which fix its scales.

    Parameters
    ----------
    scale : (input_size,) array
        Factor by which the quantizer multiplied each input's weights.
    frac : int
        Most fraction bits that the incoming synapses offer without a shift.
    a_max : (input_size,) array
        Largest possible magnitude of the scaled synaptic sum, from the weights alone.
    ranges : mapping of str to array
        Largest magnitude of each quantity of `Neuron.observe` on the calibration data, or its static bound.
    frac_max : int
        Most fraction bits that the chip's weight exponent allows.
    """

    scale: FloatArray
    frac: int
    a_max: FloatArray
    ranges: Mapping[str, FloatArray]
    frac_max: int
