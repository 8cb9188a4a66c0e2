"""Samples from .npz, .npy and HDF5 files, checked against what the model takes: all at once, or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadData, BadFile, BadOption
from nmdeploy.network.graph import Input
from nmdeploy.neurons.base import IntArray
from nmdeploy.samples.hdf5 import open_hdf5
from nmdeploy.samples.npz import open_npy, open_npz
from nmdeploy.samples.stored import Stored, join_names

Codes = npt.NDArray[Any]
BLOCK_BYTES = 1 << 22
OPEN = {".npy": open_npy, ".h5": open_hdf5, ".hdf5": open_hdf5}  # everything else is taken for an .npz


@dataclass(frozen=True, eq=False)
class Data:
    """Input codes (samples, steps, channels), labels (samples,) or None, and valid steps (samples,).

    The codes are of any integer type, or bool.
    """

    codes: Codes
    labels: IntArray | None
    lengths: IntArray

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.codes)

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return int(self.codes.shape[1])

    def first(self, samples: int | None) -> Data:
        """The first samples, or all."""
        return self._part(slice(samples))

    def chunks(self, samples: int) -> Iterator[Data]:
        """All of it in order, that many samples at a time."""
        for first in range(0, self.samples, samples):
            yield self._part(slice(first, first + samples))

    def _part(self, part: slice) -> Data:
        return Data(self.codes[part], None if self.labels is None else self.labels[part], self.lengths[part])


@dataclass(frozen=True, eq=False)
class SampleFile:
    """Samples in a file, read when they are asked for; what is held does not grow with their number.

    Shapes, types, labels and lengths are checked when it is opened, the inputs as they are read.
    """

    path: Path
    expected: Input
    stored: Stored
    labels: Codes | None
    lengths: Codes | None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.stored.shape[0]

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return self.stored.shape[1]

    def chunks(self, samples: int) -> Iterator[Data]:
        """All samples in order, that many at a time.

        Raises
        ------
        BadFile, BadData
            At the chunk that is damaged or holds what the model does not take; damage at the end at the latest.
        """
        done, dtype = 0, _narrowest(self.stored.dtype, self.expected)
        for block in self.stored.blocks(samples):
            try:
                codes = _codes(self.path, block, self.expected, dtype, done)
            except BadData:
                for _ in self.stored.blocks(samples) if self.stored.sealed_at_end else ():
                    pass  # a bad value in a damaged file is no bad value
                raise
            part = slice(done, done + len(codes))
            labels = None if self.labels is None else self.labels[part].astype(np.int64)
            yield Data(codes, labels, self._lengths(part))
            done += len(codes)

    def first(self, samples: int | None) -> Data:
        """The first samples, or all, in memory."""
        wanted = self.samples if samples is None else min(samples, self.samples)
        each = max(self.steps * self.expected.size * self.stored.dtype.itemsize, 1)
        size = min(max(BLOCK_BYTES // each, 1), wanted)
        codes = np.empty((wanted, self.steps, self.expected.size), _narrowest(self.stored.dtype, self.expected))
        chunks = self.chunks(size)
        for index, chunk in enumerate(chunks if samples is None else islice(chunks, -(-wanted // size))):
            place = codes[index * size : (index + 1) * size]
            place[:] = chunk.codes[: len(place)]
        labels = None if self.labels is None else self.labels[:wanted].astype(np.int64)
        return Data(codes, labels, self._lengths(slice(wanted)))

    def limited(self, samples: int | None) -> SampleFile:
        """The first samples, or all, still in the file."""
        if samples is None or samples >= self.samples:
            return self
        stored, whole = self.stored, self.stored.blocks
        blocks = partial(_first_of, whole, samples, stored.sealed_at_end)
        part = replace(stored, shape=(samples, *stored.shape[1:]), blocks=blocks)
        labels, lengths = (None if held is None else held[:samples] for held in (self.labels, self.lengths))
        return replace(self, stored=part, labels=labels, lengths=lengths)

    def _lengths(self, part: slice) -> IntArray:
        if self.lengths is None:
            return np.full(len(range(self.samples)[part]), self.steps, np.int64)
        return self.lengths[part].astype(np.int64)


def open_data(path: str | Path, expected: Input, classes: int | None = None) -> SampleFile:
    """Open a file of samples: .npz or HDF5 with ``inputs``, optionally ``labels`` and ``lengths``, or .npy of inputs.

    Parameters
    ----------
    path : path of the file; by its ending it is an .npy, an HDF5 file (.h5, .hdf5), or else an .npz
    expected : the model's input: shape a step, and format of the codes
    classes : number of outputs, for the range of the labels

    Raises
    ------
    BadFile, BadData
        One line that names the file, the array, the limit and the remedy.
    """
    file = Path(path)
    stored = open_stored(file, f"(samples, steps, {expected.size})")
    _check_inputs(file, stored, expected)
    samples, steps = stored.shape[:2]
    lengths = _vector(file, stored, "lengths", samples, 1, steps)
    labels = _vector(file, stored, "labels", samples, 0, None if classes is None else classes - 1)
    return SampleFile(file, expected, replace(stored, vectors={}), labels, lengths)


def load_data(path: str | Path, expected: Input, classes: int | None = None) -> Data:
    """Read and check a whole file of samples; parameters and exceptions as for `open_data`."""
    return open_data(path, expected, classes).first(None)


def open_stored(path: Path, shape: str = "(samples, steps, channels)") -> Stored:
    """The arrays of a file of samples, by its ending; `BadFile` or `BadData` where there are none."""
    if not path.exists():
        raise BadFile(f"{path}: there is no such file: check the path given to --data")
    if path.is_dir():
        raise BadFile(f"{path}: is a folder: give an .npz, .npy or .h5 file")
    stored = OPEN.get(path.suffix, open_npz)(path)
    if isinstance(stored, tuple):
        held = f"only {join_names(stored)}" if stored else "nor any other"
        raise BadData(f"{path}: holds no array 'inputs', {held}: save one of shape {shape} at its top")
    return stored


def check_samples(samples: int | None) -> None:
    """`BadOption` for a number of samples below 1."""
    if samples is not None and samples < 1:
        raise BadOption(f"--samples {samples}: give 1 or more")


def _first_of(whole: Callable[[int], Iterator[Codes]], samples: int, sealed: bool, size: int) -> Iterator[Codes]:
    """Blocks up to a number of samples; what lies behind is only read where a checksum is at its end."""
    blocks = whole(size)
    while samples > 0:
        block = next(blocks)[:samples]
        samples -= len(block)
        yield block
    for _ in blocks if sealed else ():
        pass


def _check_inputs(path: Path, stored: Stored, expected: Input) -> None:
    shape, dtype = stored.shape, stored.dtype
    if dtype.kind not in "biuf":
        raise BadData(f"{path}: 'inputs' holds values of type {dtype}: give integers or floats")
    if len(shape) < 2 or shape[2:] not in (expected.shape, (expected.size,)):
        raise BadData(
            f"{path}: 'inputs' has shape {shape}; the model takes (samples, steps, "
            f"{', '.join(map(str, expected.shape))}): {_other_axes(shape, expected)}"
        )
    if shape[0] == 0 or shape[1] == 0:
        raise BadData(f"{path}: 'inputs' has shape {shape}, no sample or no step: give at least one of each")


def _other_axes(shape: tuple[int, ...], expected: Input) -> str:
    """What to do about axes that are not the model's."""
    if shape[1:] in (expected.shape, (expected.size,)):
        return "add an axis for samples (inputs[None])"
    if len(shape) == 2 and expected.size == 1:
        return "add an axis for channels (inputs[..., None])"
    if len(shape) in (3, 2 + len(expected.shape)):
        return "check the number of channels"
    return f"check the number of axes, which is {len(shape)}"


def _narrowest(dtype: np.dtype[Any], expected: Input) -> np.dtype[Any]:
    """The type of the codes: that of the file, unless the input's format fits in a narrower one."""
    low, high = expected.format.min, expected.format.max
    fits = next(t for t in ("u1", "u2", "u4", "i1", "i2", "i4") if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    keep = dtype.kind in "biu" and dtype.itemsize <= np.dtype(fits).itemsize
    return dtype.newbyteorder("=") if keep else np.dtype(fits)


def _codes(path: Path, inputs: Codes, expected: Input, dtype: np.dtype[Any], first: int) -> Codes:
    """The codes of samples, of which the first is the file's sample of that number."""
    flat = inputs.reshape(*inputs.shape[:2], expected.size)
    number = expected.format
    if flat.dtype.kind == "f":
        if not np.isfinite(flat).all():
            place = _place(inputs, ~np.isfinite(flat), first)
            raise BadData(f"{path}: 'inputs' holds {place}; NaN or infinite values have no code: replace them")
        with np.errstate(over="ignore"):  # what is infinite now is refused below
            flat = np.rint(np.ldexp(flat.astype(np.float64), number.frac))
    if flat.min() < number.min or flat.max() > number.max:
        place = _place(inputs, (flat < number.min) | (flat > number.max), first)
        low, high, step = (f"{value * number.step:.15g}" for value in (number.min, number.max, 1))
        takes = (
            f"floats are values, from {low} to {high} in steps of {step}"
            if inputs.dtype.kind == "f"
            else f"integers are codes, from {number.min} to {number.max} (floats are values, from {low} to {high})"
        )
        raise BadData(f"{path}: 'inputs' holds {place}; {takes}: rescale the inputs")
    return np.asarray(flat, dtype)


def _place(inputs: Codes, bad: npt.NDArray[np.bool_], first: int) -> str:
    """The first bad value, with all of its digits, and where it is."""
    sample, step, channel = np.unravel_index(int(np.argmax(bad)), bad.shape)
    value = inputs.reshape(bad.shape)[sample, step, channel]
    return f"{value} in sample {first + sample}, step {step}, channel {channel}"


def _vector(path: Path, stored: Stored, name: str, samples: int, low: int, high: int | None) -> Codes | None:
    """Labels or lengths, in the narrowest type."""
    if name not in stored.vectors:
        return None
    values = stored.vectors[name]
    if values.ndim == 1 and len(values) != samples and values.dtype.kind in "iu":
        raise BadData(
            f"{path}: 'inputs' has {samples} samples, {name!r} {len(values)}: give one for each sample, "
            "and inputs of shape (samples, steps, channels)"
        )
    if values.shape != (samples,) or values.dtype.kind not in "iu":
        raise BadData(f"{path}: {name!r} has shape {values.shape} and type {values.dtype}: give ({samples},) integers")
    if values.min() < low or (high is not None and values.max() > high):
        raise BadData(
            f"{path}: {name!r} holds {int(values.min())} to {int(values.max())}, "
            f"allowed is {low} to {high}: correct the values"
        )
    return values.astype(np.min_scalar_type(int(values.max())))
