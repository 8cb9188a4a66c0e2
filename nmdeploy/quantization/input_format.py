"""Choice of the input's number format from calibration data, for sources that hold none.

For values v of a channel, and v_q as the format holds them, the relative error is ``norm(v_q - v) / norm(v)``. The
chosen format has the fewest fraction bits with which no channel's error exceeds 1 %. Values on a grid of
``2**-8`` or coarser, as counts and grey values of few bits, are held exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, DoesNotFit
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.network.graph import BINARY, Input
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import By, Fact, describe_format, holds_input_format
from nmdeploy.samples.source import Data, SampleFile

LARGEST_ERROR = 0.01
EXACT_FRAC = 8  # a grid of 2**-8 holds counts, grey values of 8 bits, and quarters, as they are
BLOCK = 1 << 20  # values that are rounded at once
Values = npt.NDArray[Any]
Samples = SampleFile | Data


@dataclass(frozen=True)
class Rounding:
    """The largest relative error of a channel, and that channel; ``exact`` data have error 0."""

    error: float
    channel: int

    def __str__(self) -> str:
        return "exact" if self.error == 0 else f"{self.error:.2g} (channel {self.channel}, relative)"


def choose_input(
    network: Network, data: Samples | None, profile: HardwareProfile, options: ReadOptions = ReadOptions()
) -> tuple[Network, Samples | None]:
    """Return the network with the format of its input, and the data as codes of that format.

    A format that the source holds stays as it is. Else `options` give it, and `data` choose what they leave open.

    Raises
    ------
    BadOption
        `options` give a format although the source holds one, or one that does not hold the data.
    DoesNotFit
        No format that the profile's chip carries holds the data to 1 %.
    """
    said = options.input_bits, options.input_frac
    if holds_input_format(network.read_as):
        if said != (None, None):
            words = describe_format(network.input.format)
            raise BadOption(
                f"--input-bits, --input-frac: the network holds its input's format, {words}: leave them out"
            )
        held = None if data is None else data.first(None)  # values that the format does not hold are refused here
        return _said(network, held, None), held
    assert network.read_as is not None
    options = options.completed(network.read_as.options)
    values = None if data is None else data.given()
    by: By = "assumed" if values is None else "data"
    if (options.input_bits, options.input_frac) != (None, None):
        number, by = _of_options(options, values), "option"
    elif values is None:
        number = network.input.format
    else:
        number = _of_data(values, profile)
    chosen = replace(network, nodes={**network.nodes, network.input_name: Input(network.input.shape, number)})
    coded = None if data is None else data.coded(chosen.input, "rescale them, or give more --input-bits")
    return _said(chosen, coded, by), coded


def rounding_of(data: Samples, number: FixedPoint) -> Rounding:
    """Return the error of rounding data to a format, of the channel that loses most."""
    values = data.given()
    if values is None or not values.size:
        return Rounding(0.0, 0)
    errors = _errors(values, _norms(values), number)
    worst = int(np.argmax(errors))
    return Rounding(float(errors[worst]), worst)


def _said(network: Network, data: Samples | None, by: By | None) -> Network:
    """Return the network whose reading says its input's format, and what rounding to it changes."""
    if network.read_as is None:
        return network
    facts = dict(network.read_as.input)
    if by is not None or "format" not in facts:
        facts["format"] = Fact(describe_format(network.input.format), by or "source")
    if data is not None and data.axes is not None:
        facts["axes"] = data.axes
    if data is not None:
        facts["rounding"] = Fact(str(rounding_of(data, network.input.format)), "data")
    return replace(network, read_as=replace(network.read_as, input=facts))


def _of_options(options: ReadOptions, values: Values | None) -> FixedPoint:
    """Return the format of the options; the data choose the sign, and the one of bits and fraction that is open."""
    bits, frac = options.input_bits, options.input_frac
    signed = values is not None and bool(values.size) and float(values.min()) < 0
    largest = 0.0 if values is None else float(np.abs(values).max(initial=0))
    if bits is None:
        assert frac is not None
        return FixedPoint(min(_bits(values, frac, signed), 32), frac, signed)
    if not 1 <= bits <= 32:
        raise BadOption(f"--input-bits {bits}: a code has 1 to 32 bits: choose a width in that range")
    if frac is None:
        frac = 0 if largest == 0 else _most_frac(values, bits, signed)
    return FixedPoint(bits, frac, signed)


def _most_frac(values: Values | None, bits: int, signed: bool) -> int:
    """Return the most fraction bits, none of them without use, with which codes of that width hold all values."""
    assert values is not None
    exact = _grid(values)
    frac = bits - math.frexp(float(np.abs(values).max()))[1] + 1
    while _bits(values, frac, signed) > bits:
        frac -= 1
    return frac if exact is None else min(frac, exact)


def _of_data(values: Values, profile: HardwareProfile) -> FixedPoint:
    """Return the format with the fewest fraction bits that holds all values to 1 %; `DoesNotFit` if there is none."""
    if not values.size or not np.isfinite(values).all() or _is_binary(values):
        return BINARY  # what is not finite is refused when it is read
    payload = profile.arithmetic.graded_payload_bits.required_value
    low, high = float(values.min()), float(values.max())
    if payload < 1:
        raise DoesNotFit(
            f"profile {profile.name!r}: the chip carries binary spikes, the inputs are {low:g} to {high:g}: choose a "
            "profile with graded spikes (--profile loihi2), or give the inputs as spikes (0 and 1)"
        )
    exact = _grid(values)
    if exact is not None and (number := _format(values, exact, payload)) is not None:
        return number
    norms = _norms(values)
    varying = np.ptp(values.reshape(-1, values.shape[-1]), axis=0) > 0
    for kept in (norms > 0, varying):  # constant channels too, if the chip's payload allows
        found = _coarsest(values, np.where(kept, norms, np.inf), min(payload, 32))
        if found is not None:
            return found
    quiet = int(np.argmin(np.where(varying, norms, np.inf)))
    raise DoesNotFit(
        f"profile {profile.name!r}: channel {quiet} of the inputs needs more than the {payload} bits that the chip "
        f"carries if the largest input, {max(abs(low), abs(high)):g}, is to fit and rounding is to change at most "
        f"{LARGEST_ERROR:.0%} of its norm: rescale the channel, or give --input-bits and --input-frac"
    )


def _coarsest(values: Values, norms: Values, bits: int) -> FixedPoint | None:
    """Return the format of up to `bits` with the fewest fraction bits whose errors are small; infinite norms pass."""
    first = -math.frexp(float(np.abs(values).max()))[1]
    for frac in range(first, first + bits + 1):
        number = _format(values, frac, bits)
        if number is None or _is_close(values, norms, number):
            return number
    return None


def _format(values: Values, frac: int, most: int) -> FixedPoint | None:
    """Return the narrowest format with `frac` fraction bits that holds the values; None if it has too many bits.

    If they are no integers, it holds the power of two over them, too: where these reach 0.97, others may reach 1.
    """
    signed = float(values.min()) < 0
    bits = _bits(values, frac, signed)
    if frac > 0:
        largest = float(np.abs(values).max())
        bits = max(bits, _bits(np.array([2.0 ** math.ceil(math.log2(largest))]), frac, signed))
    return FixedPoint(bits, frac, signed) if bits <= min(most, 32) else None


def _bits(values: Values | None, frac: int, signed: bool) -> int:
    """Return the width of the narrowest codes with `frac` fraction bits that hold all values."""
    if values is None or not values.size:
        return 1
    low, high = (int(np.rint(np.ldexp(float(end), frac))) for end in (values.min(), values.max()))
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + signed or 1


def _grid(values: Values) -> int | None:
    """Return the fewest fraction bits, 0 to 8, that hold all values exactly; None if eight do not."""
    found = 0
    for rows in _rows(values):
        while found <= EXACT_FRAC and (np.ldexp(rows, found) != np.rint(np.ldexp(rows, found))).any():
            found += 1
    return found if found <= EXACT_FRAC else None


def _is_binary(values: Values) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _norms(values: Values) -> Values:
    """Return the norm of each channel, (channels,)."""
    squares = np.zeros(values.shape[-1])
    for rows in _rows(values):
        squares += np.einsum("ij,ij->j", rows, rows)
    return np.sqrt(squares)


def _errors(values: Values, norms: Values, number: FixedPoint) -> Values:
    """Return the relative error of each channel, 0 for a channel without any value."""
    squares = np.zeros(values.shape[-1])
    for rows in _rows(values):
        lost = number.dequantize(number.quantize(rows)) - rows
        squares += np.einsum("ij,ij->j", lost, lost)
    return np.sqrt(squares) / np.where(norms > 0, norms, 1.0)


def _is_close(values: Values, norms: Values, number: FixedPoint) -> bool:
    """Return True if no channel's error exceeds 1 %; rows that exceed it by themselves end the search early."""
    allowed = (LARGEST_ERROR * norms) ** 2
    squares = np.zeros(values.shape[-1])
    for rows in _rows(values):
        lost = number.dequantize(number.quantize(rows)) - rows
        squares += np.einsum("ij,ij->j", lost, lost)
        if (squares > allowed).any():
            return False
    return True


def _rows(values: Values) -> Iterator[Values]:
    """Yield the values as (steps of all samples, channels), some rows at a time, as float64."""
    flat = values.reshape(-1, values.shape[-1])
    size = max(1, BLOCK // max(values.shape[-1], 1))
    for first in range(0, len(flat), size):
        yield flat[first : first + size].astype(np.float64)
