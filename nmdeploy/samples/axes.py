"""Order of the axes of samples: NTC (samples, steps, channels) as everywhere here, TNC or NCT as others store them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption
from nmdeploy.network.reading import Fact, Reading
from nmdeploy.samples.stored import Stored

NTC, TNC, NCT = AXES = ("NTC", "TNC", "NCT")
Array = npt.NDArray[Any]


def in_order(stored: Stored, axes: str) -> Stored:
    """Return samples whose axes are in another order as (samples, steps, *channels).

    TNC has no sample in one piece: the whole array is held in memory. Of NCT, as of NTC, only blocks are.
    """
    if axes not in AXES:
        raise BadOption(f"--axes {axes}: choose one of {', '.join(AXES)}")
    if axes == NTC or len(stored.shape) < 3:
        return stored
    if axes == TNC:
        steps, samples, *channels = stored.shape
        return replace(stored, shape=(samples, steps, *channels), blocks=partial(_steps_first, stored))
    samples, *channels, steps = stored.shape
    return replace(stored, shape=(samples, steps, *channels), blocks=partial(_steps_last, stored))


def _steps_first(stored: Stored, size: int) -> Iterator[Array]:
    whole = np.concatenate(list(stored.blocks(max(1, size)))).swapaxes(0, 1)
    for first in range(0, len(whole), size):
        yield np.ascontiguousarray(whole[first : first + size])


def _steps_last(stored: Stored, size: int) -> Iterator[Array]:
    for block in stored.blocks(size):
        yield np.ascontiguousarray(np.moveaxis(block, -1, 1))


def fits(shape: tuple[int, ...], axes: str, expected: tuple[int, ...]) -> bool:
    """Return True if an array of that shape can have these axes, for inputs of a shape per step, or flat."""
    channels = shape[1:-1] if axes == NCT else shape[2:]
    return len(shape) > 2 and channels in (expected, (int(np.prod(expected)),))


def said_of(shape: tuple[int, ...], expected: tuple[int, ...], has_vectors: bool, said: str | None) -> Fact:
    """Return the order of the axes of samples, and by what it is known.

    Parameters
    ----------
    shape : (samples, steps, ...), in order
    expected : shape of the input per step
    has_vectors : bool
        True if there are labels or lengths, whose number is that of the samples.
    said : str, optional
        The option, or what the model keeps of its export's.
    """
    if said is not None:
        return Fact(said, "option")
    open_to = [TNC] if not has_vectors or shape[0] == shape[1] else []
    open_to += [NCT] if fits(shape, NCT, expected) else []
    if not open_to:
        return Fact(NTC, "data")
    return Fact(
        f"{NTC}, {shape[0]} samples of {shape[1]} steps, where sizes also allow {' or '.join(open_to)}", "assumed"
    )


def axes_note(reading: Reading | None) -> tuple[str, ...]:
    """Return the line of an export that says which order was assumed; none if it is known."""
    fact = None if reading is None else reading.input.get("axes")
    if fact is None or fact.by != "assumed":
        return ()
    return (f"the axes of the data were read as {fact.value}: if that is wrong, give --axes",)
