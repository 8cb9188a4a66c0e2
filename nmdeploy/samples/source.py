"""Samples from .npz, .npy, .pt and HDF5 files, checked against what the model takes: all at once, or in chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.memory import require_memory
from nmdeploy._util.shown import Shown, Summary, counted
from nmdeploy.errors import BadData, BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.expected import input_of
from nmdeploy.network.graph import Graph, Input, strip_batch
from nmdeploy.network.reading import Fact
from nmdeploy.neurons.base import IntArray
from nmdeploy.samples.arrays import ARRAYS, open_arrays
from nmdeploy.samples.axes import NCT, NTC, fits, in_order, said_of
from nmdeploy.samples.codes import RESCALE, codes_of, narrowest
from nmdeploy.samples.hdf5 import open_samples
from nmdeploy.samples.npz import open_npy, open_npz
from nmdeploy.samples.pt import open_pt
from nmdeploy.samples.stored import Stored, join_names

Codes = npt.NDArray[Any]
Arrays = npt.NDArray[Any] | Mapping[str, npt.ArrayLike]
"""Inputs by themselves, or what an .npz holds, by name."""
BLOCK_BYTES = 1 << 22
OPEN = {
    ".npy": open_npy,
    ".h5": open_samples,
    ".hdf5": open_samples,
    ".hdf": open_samples,
    ".pt": open_pt,
    ".pth": open_pt,
}
"""By the ending of the name; everything else is taken for an .npz."""


@dataclass(frozen=True, eq=False, repr=False)
class Data(Shown):
    """Samples in memory.

    Parameters
    ----------
    codes : (samples, steps, channels) integers of any type, or bool
        Inputs as integers of the model's input format.
    labels : (samples,) int or None
    lengths : (samples,) int
        Valid steps of each sample.
    values : (samples, steps, channels) numbers, optional
        Inputs as they were given, not rounded; None if codes were given.
    """

    codes: Codes
    labels: IntArray | None
    lengths: IntArray
    values: npt.NDArray[Any] | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.codes)

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return int(self.codes.shape[1])

    others = ()
    axes = None

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show."""
        return _summary(self, self.labels)

    def first(self, samples: int | None) -> Data:
        """Return the first samples, or all."""
        return self._part(slice(samples))

    def limited(self, samples: int | None) -> Data:
        """Return the first samples, or all."""
        return self.first(samples)

    def after(self, samples: int) -> Data:
        """Return the samples after the first ones."""
        return self._part(slice(samples, None))

    def chunks(self, samples: int) -> Iterator[Data]:
        """Yield all samples in order, that many at a time."""
        for first in range(0, self.samples, samples):
            yield self._part(slice(first, first + samples))

    def _part(self, part: slice) -> Data:
        labels, values = (None if held is None else held[part] for held in (self.labels, self.values))
        return Data(self.codes[part], labels, self.lengths[part], values)

    def as_values(self, number: FixedPoint) -> npt.NDArray[Any]:
        """Return the inputs as given, or the values of the codes in a format."""
        return number.dequantize(self.codes) if self.values is None else self.values

    def given(self) -> npt.NDArray[Any] | None:
        """Return the inputs as given, (samples, steps, channels); None if codes were given."""
        return self.values

    def coded(self, expected: Input, remedy: str = RESCALE) -> Data:
        """Return the samples as codes of another format, if values were given; `BadData` if it does not hold one."""
        if self.values is None:
            return self
        stored = Stored("inputs", self.values.shape, self.values.dtype, {}, lambda _: iter(()))
        dtype = narrowest(stored, expected)
        return replace(self, codes=codes_of(ARRAYS, "inputs", self.values, expected, dtype, 0, remedy))


@dataclass(frozen=True, eq=False, repr=False)
class SampleFile(Shown):
    """Samples in a file, read when they are asked for: codes, and values as given.

    What is held in memory does not grow with the number of samples. Shapes, types, labels and lengths are checked when
    it is opened, the inputs as they are read.
    """

    path: Path
    expected: Input
    stored: Stored
    labels: Codes | None
    lengths: Codes | None
    said_axes: str | None = None
    remedy: str = RESCALE

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.stored.shape[0]

    @property
    def steps(self) -> int:
        """Steps of the longest sample."""
        return self.stored.shape[1]

    def summary(self) -> Summary:
        """Return what `repr` and a notebook show."""
        return _summary(self, self.labels, f"in {self.path}, read when they are asked for")

    def chunks(self, samples: int) -> Iterator[Data]:
        """Yield all samples in order, that many at a time.

        Raises
        ------
        BadFile, BadData
            At the chunk that is damaged or holds what the model does not take; damage at the end at the latest.
        """
        done, dtype = 0, narrowest(self.stored, self.expected)
        for block in self.stored.blocks(samples):
            try:
                codes = codes_of(self.path, self.stored.name, block, self.expected, dtype, done, self.remedy)
            except BadData:
                for _ in self.stored.blocks(samples) if self.stored.sealed_at_end else ():
                    pass  # a bad value in a damaged file is no bad value
                raise
            part = slice(done, done + len(codes))
            labels = None if self.labels is None else self.labels[part].astype(np.int64)
            yield Data(codes, labels, self._lengths(part), self._values(block.reshape(codes.shape), codes))
            done += len(codes)

    def first(self, samples: int | None) -> Data:
        """Read the first samples, or all, into memory."""
        wanted = self.samples if samples is None else min(samples, self.samples)
        each = max(self.steps * self.expected.size * self.stored.dtype.itemsize, 1)
        size = min(max(BLOCK_BYTES // each, 1), wanted)
        shape = wanted, self.steps, self.expected.size
        dtype = narrowest(self.stored, self.expected)
        each = dtype.itemsize + (0 if self._is_exact else self.stored.dtype.itemsize)
        require_memory(f"{self.path} ({wanted:,} samples of {self.steps:,} steps)", math.prod(shape) * each)
        codes = np.empty(shape, dtype)
        values = self._values(codes if self._is_exact else np.empty(shape, self.stored.dtype), codes)
        done = 0
        for chunk in self.chunks(size):
            number = min(chunk.samples, wanted - done)
            codes[done : done + number] = chunk.codes[:number]
            if values is not None and values is not codes:
                values[done : done + number] = chunk.as_values(self.expected.format)[:number]
            done += number
            if samples is not None and done == wanted:
                break
        labels = None if self.labels is None else self.labels[:wanted].astype(np.int64)
        return Data(codes, labels, self._lengths(slice(wanted)), values)

    def given(self) -> npt.NDArray[Any] | None:
        """Read all inputs as given, (samples, steps, channels), into memory; None if the file holds codes."""
        if self.stored.name == "codes":
            return None
        each = max(self.steps * self.expected.size * self.stored.dtype.itemsize, 1)
        blocks = list(self.stored.blocks(max(BLOCK_BYTES // each, 1)))
        return np.concatenate(blocks).reshape(self.samples, self.steps, self.expected.size)

    def coded(self, expected: Input, remedy: str = RESCALE) -> SampleFile:
        """Return the samples as codes of another format, which are checked when they are read."""
        return replace(self, expected=expected, remedy=remedy)

    @property
    def axes(self) -> Fact:
        """Order of the axes in the file, and by what it is known."""
        vectors = self.labels is not None or self.lengths is not None
        return said_of(self.stored.shape, self.expected.shape, vectors, self.said_axes)

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the arrays that are not read."""
        return self.stored.others

    def after(self, samples: int) -> SampleFile:
        """Return the samples after the first ones, still in the file."""
        stored = self.stored
        blocks = partial(_after, stored.blocks, samples)
        part = replace(stored, shape=(self.samples - samples, *stored.shape[1:]), blocks=blocks)
        labels, lengths = (None if held is None else held[samples:] for held in (self.labels, self.lengths))
        return replace(self, stored=part, labels=labels, lengths=lengths)

    def limited(self, samples: int | None) -> SampleFile:
        """Return the first samples, or all, still in the file."""
        if samples is None or samples >= self.samples:
            return self
        stored, whole = self.stored, self.stored.blocks
        blocks = partial(_first_of, whole, samples, stored.sealed_at_end)
        part = replace(stored, shape=(samples, *stored.shape[1:]), blocks=blocks)
        labels, lengths = (None if held is None else held[:samples] for held in (self.labels, self.lengths))
        return replace(self, stored=part, labels=labels, lengths=lengths)

    @property
    def _is_exact(self) -> bool:
        """True if values are their own codes."""
        return self.stored.dtype.kind in "biu" and self.expected.format.frac == 0

    def _values(self, given: npt.NDArray[Any], codes: Codes) -> npt.NDArray[Any] | None:
        if self.stored.name == "codes":
            return None
        return codes if self._is_exact else given

    def _lengths(self, part: slice) -> IntArray:
        if self.lengths is None:
            return np.full(len(range(self.samples)[part]), self.steps, np.int64)
        return self.lengths[part].astype(np.int64)


def _summary(data: Data | SampleFile, labels: Codes | None, *more: str) -> Summary:
    size = f"{counted(data.samples, 'sample')} of up to {counted(data.steps, 'step')}"
    return Summary(type(data).__name__, (size, "no labels" if labels is None else "labels", *more))


def open_data(
    path: str | Path | Arrays,
    expected: Input | Graph,
    classes: int | None = None,
    axes: str | None = None,
    remedy: str = RESCALE,
) -> SampleFile:
    """Open a file of samples, or take arrays as one.

    An .npz, HDF5 or .pt file holds ``inputs``, optionally ``labels`` and ``lengths``; an .npy holds inputs alone, as a
    .pt may. ``inputs`` are values, whatever their type: the model's input format rounds them. An array ``codes`` in
    their place holds integers of that format.

    Parameters
    ----------
    path : path of the file; by its ending it is an .npy, an HDF5 file (.h5, .hdf5, .hdf), a .pt, or else an .npz
        Or an array or a torch tensor of the inputs, or a mapping of name to array or tensor of all that a file would
        hold; ``labels`` and ``lengths`` may be left out.
    expected : the model's input: shape per step, and format of the codes; or the network that has it
    classes : number of outputs, for the range of the labels
    axes : order of the axes: "NTC" (the default), "TNC" or "NCT", for samples (N), steps (T) and channels (C)
    remedy : what helps against a value that the format does not hold, for the error message

    Raises
    ------
    BadFile, BadData
        One line that names the file, the array, the limit and the remedy.
    """
    expected = input_of(expected, "load_data")
    shape = f"(samples, steps, {expected.size})"
    if isinstance(path, (str, Path)):
        file = Path(path)
        stored = open_stored(file, shape)
    else:
        file = ARRAYS
        stored = _require_samples(file, open_arrays(path), shape)
    turned = None if axes in (None, NTC) else f"check --axes {axes}, its shape is {stored.shape} as given"
    stored = in_order(stored, axes or NTC)
    _check_inputs(file, stored, expected, turned)
    samples, steps = stored.shape[:2]
    lengths = _vector(file, stored, "lengths", samples, 1, steps)
    labels = _vector(file, stored, "labels", samples, 0, None if classes is None else classes - 1)
    return SampleFile(file, expected, replace(stored, vectors={}), labels, lengths, axes, remedy)


def load_data(
    path: str | Path | Arrays, expected: Input | Graph, classes: int | None = None, axes: str | None = None
) -> Data:
    """Read and check a whole file of samples, or arrays; parameters and exceptions as for `open_data`."""
    return open_data(path, expected, classes, axes).first(None)


def raw_inputs(given: str | Path | SampleFile | Data | Arrays | None) -> npt.NDArray[Any] | None:
    """Return all inputs as given, of any shape (samples, steps, ...), before a network is known that takes them."""
    if given is None:
        return None
    if isinstance(given, Data):
        return given.codes if given.values is None else given.values
    if isinstance(given, SampleFile):
        stored = given.stored
    elif isinstance(given, (str, Path)):
        stored = open_stored(Path(given))
    else:
        stored = _require_samples(ARRAYS, open_arrays(given), "(samples, steps, channels)")
    return np.concatenate(list(stored.blocks(max(1, stored.shape[0]))))


def open_stored(path: Path, shape: str = "(samples, steps, channels)") -> Stored:
    """Open the arrays of a file of samples, by its ending; raise `BadFile` or `BadData` if there are none."""
    if not path.exists():
        raise BadFile(f"{path}: there is no such file: check the path given to --data")
    if path.is_dir():
        raise BadFile(f"{path}: is a folder: give an .npz, .npy, .h5 or .pt file")
    return _require_samples(path, OPEN.get(path.suffix, open_npz)(path), shape)


def _require_samples(path: Path, stored: Stored | tuple[str, ...], shape: str) -> Stored:
    """Return the samples; `BadData` if there are only names of other arrays."""
    if isinstance(stored, tuple):
        held = f"only {join_names(stored)}" if stored else "nor any other"
        raise BadData(f"{path}: holds no array 'inputs' or 'codes', {held}: save one of shape {shape} at its top")
    return stored


def check_samples(samples: int | None) -> None:
    """`BadOption` for a number of samples below 1."""
    if samples is not None and samples < 1:
        raise BadOption(f"--samples {samples}: give 1 or more")


def _first_of(whole: Callable[[int], Iterator[Codes]], samples: int, sealed: bool, size: int) -> Iterator[Codes]:
    """Yield blocks up to a number of samples; what follows is read only if a checksum is at the end."""
    blocks = whole(size)
    while samples > 0:
        block = next(blocks)[:samples]
        samples -= len(block)
        yield block
    for _ in blocks if sealed else ():
        pass


def _after(whole: Callable[[int], Iterator[Codes]], skipped: int, size: int) -> Iterator[Codes]:
    """Yield the blocks after a number of samples, which are read, but not kept."""
    for block in whole(size):
        rest = block[skipped:]
        skipped -= min(skipped, len(block))
        if len(rest):
            yield rest


def _check_inputs(path: Path, stored: Stored, expected: Input, turned: str | None) -> None:
    name, shape, dtype = stored.name, stored.shape, stored.dtype
    if dtype.kind not in ("biu" if name == "codes" else "biuf"):
        wanted = "integers" if name == "codes" else "integers or floats"
        raise BadData(f"{path}: {name!r} holds values of type {dtype}: give {wanted}")
    if len(shape) < 2 or not _fits(shape, expected):
        raise BadData(
            f"{path}: {name!r} has shape {shape}; the model takes (samples, steps, "
            f"{', '.join(map(str, expected.shape))}): {turned or _other_axes(name, shape, expected)}"
        )
    if shape[0] == 0 or shape[1] == 0:
        raise BadData(f"{path}: {name!r} has shape {shape}, no sample or no step: give at least one of each")


def _fits(shape: tuple[int, ...], expected: Input) -> bool:
    """Return True if each step has the input's shape, or is flat; axes of length 1 at its front do not count.

    The input's own shape after one axis is refused: it is rather steps without samples than samples of one step.
    """
    step, whole = shape[2:], (expected.size,)
    if step in (expected.shape, whole):
        return True
    return strip_batch(step) in (strip_batch(expected.shape), whole) and shape[1:] != expected.shape


def _other_axes(name: str, shape: tuple[int, ...], expected: Input) -> str:
    """Return the remedy for axes that are not the model's."""
    if shape[1:] in (expected.shape, (expected.size,)):
        return (
            f"add an axis for samples ({name}[None]), or for steps if one input is for all steps "
            f"(np.repeat({name}[:, None], steps, 1))"
        )
    if fits(shape, NCT, expected.shape):
        return "give --axes NCT"
    if len(shape) == 2 and expected.size == 1:
        return f"add an axis for channels ({name}[..., None])"
    if len(shape) in (3, 2 + len(expected.shape)):
        return "check the number of channels"
    return f"check the number of axes, which is {len(shape)}"


def _vector(path: Path, stored: Stored, name: str, samples: int, low: int, high: int | None) -> Codes | None:
    """Return labels or lengths, in the narrowest type."""
    if name not in stored.vectors:
        return None
    values = stored.vectors[name]
    if values.ndim == 1 and len(values) != samples and values.dtype.kind in "iu":
        raise BadData(
            f"{path}: {stored.name!r} has {samples} samples, {name!r} {len(values)}: give one for each sample, "
            f"and {stored.name} of shape (samples, steps, channels)"
            + (", or --axes TNC if steps come first" if len(values) == stored.shape[1] else "")
        )
    if values.shape != (samples,) or values.dtype.kind not in "iu":
        raise BadData(f"{path}: {name!r} has shape {values.shape} and type {values.dtype}: give ({samples},) integers")
    if values.min() < low or (high is not None and values.max() > high):
        raise BadData(
            f"{path}: {name!r} holds {int(values.min())} to {int(values.max())}, "
            f"allowed is {low} to {high}: correct the values"
        )
    return values.astype(np.min_scalar_type(int(values.max())))
