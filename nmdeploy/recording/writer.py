"""The writer of recordings in HDF5 (docs/formats.md), part by part, in memory that does not grow with the samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.atomic_files import Unfailing, atomic_write, unwritable
from nmdeploy._util.signals import defer_signals
from nmdeploy.errors import BadData
from nmdeploy.recording.types import ATTRIBUTES, Recording

CHUNK_BYTES, CHUNK_SAMPLES = 1 << 20, 1024
PART_ATTRIBUTES = tuple(name for name in ATTRIBUTES if name != "inputs_sha256")  # equal in all parts
Array = npt.NDArray[Any]


class RecordingWriter:
    """A writer of a recording in parts, as a whole or not at all.

    ``with RecordingWriter(path) as writer: writer.append(part)``

    The file takes its place at the end of the block. If the block raises, no file is left.

    Parameters
    ----------
    path : path of the recording
    samples : int, optional
        How many there will be in all; knowing it makes a smaller file.

    Attributes
    ----------
    inputs_sha256 : str
        Digest of all samples; set it before the end of the block.
    """

    def __init__(self, path: str | Path, samples: int | None = None) -> None:
        self.path, self.samples = path, samples
        self.inputs_sha256 = ""
        self.done = self._bytes = 0
        self._columns: dict[str, _Column] = {}
        self._layout: dict[str, Any] = {}
        self._file: Any = None
        self._disk: Unfailing
        self._block: AbstractContextManager[RecordingWriter] = self._opened()

    def __enter__(self) -> RecordingWriter:
        return self._block.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._block.__exit__(kind, error, trace)

    def append(self, part: Recording) -> None:
        """Add the samples of a part after those that are there.

        Raises
        ------
        BadFile
            It cannot be written.
        BadData
            It does not hold what the parts before it hold.
        """
        arrays = _arrays(part)
        layout = _layout(part, arrays)
        if self.done and layout != self._layout:
            raise BadData(f"{self.path}: a part of the recording differs in layout: backend {part.backend!r} is faulty")
        self._layout = layout
        self.done += part.samples
        self._bytes += sum(values.nbytes for values in arrays.values())
        with self._writing():
            if self._file is None:
                self._start(part, arrays)
            for name, values in arrays.items():
                self._columns[name].append(values)

    @contextmanager
    def _opened(self) -> Iterator[RecordingWriter]:
        with atomic_write(self.path) as file:
            self._disk = Unfailing(file)
            try:
                yield self
                self._finish()
            except BaseException as error:
                self._disk.error = self._disk.error or error
                with suppress(Exception):
                    self._close()
                raise

    def _finish(self) -> None:
        if not self.done or self.samples not in (None, self.done):
            raise BadData(f"{self.path}: {self.done} samples were recorded, {self.samples or 'at least one'} expected")
        with self._writing():
            for column in self._columns.values():
                column.flush()
            self._file.attrs["inputs_sha256"] = self.inputs_sha256
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            with defer_signals():
                self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with defer_signals():
                yield
        except Exception:
            if self._disk.error is None:
                raise
        if isinstance(self._disk.error, OSError):
            most = self._bytes * (self.samples or self.done) // self.done
            raise unwritable(self.path, self._disk.error, most) from None

    def _start(self, part: Recording, arrays: dict[str, Array]) -> None:
        """Create the file and its arrays; HDF5's cache is off, because only whole chunks are written."""
        import h5py

        self._file = h5py.File(self._disk, "w", rdcc_nbytes=0)
        for name in PART_ATTRIBUTES:
            self._file.attrs[name] = getattr(part, name)
        layers = self._file.create_group("layers", track_order=True)
        for name in part.layers:
            group = layers.create_group(name)
            group.create_group("states", track_order=True)
            group.create_group("counts", track_order=True)
        self._columns = {name: _Column(self._file, name, values, self.samples) for name, values in arrays.items()}


def _arrays(part: Recording) -> dict[str, Array]:
    """Return every array by its place in the file; binary spikes are bytes."""
    found = {f"output/{'spikes' if part.spiking else 'readout'}": part.output, "lengths": part.lengths}
    found |= {} if part.predictions is None else {"predictions": part.predictions}
    for name, layer in part.layers.items():
        found |= {} if layer.spikes is None else {f"layers/{name}/spikes": layer.spikes}
        found |= {f"layers/{name}/states/{state}": values for state, values in layer.states.items()}
        found |= {f"layers/{name}/counts/{metric}": values for metric, values in layer.counts.items()}
    return {name: values.view(np.uint8) if values.dtype == bool else values for name, values in found.items()}


def _layout(part: Recording, arrays: dict[str, Array]) -> dict[str, Any]:
    shapes = {name: (values.dtype, values.shape[1:], len(values) == part.samples) for name, values in arrays.items()}
    return shapes | {name: getattr(part, name) for name in PART_ATTRIBUTES}


class _Column:
    """One array of the file, and the samples of it that do not fill a chunk yet."""

    def __init__(self, file: Any, name: str, first: Array, samples: int | None) -> None:
        self.rows = _chunk(first, samples)[0]
        self.dataset = _dataset(file, name, first, samples)
        self.held: list[Array] = []
        self.waiting = self.done = 0

    def append(self, values: Array) -> None:
        """Take samples, and write what fills whole chunks."""
        self.held.append(values)
        self.waiting += len(values)
        if self.waiting >= self.rows:
            whole = np.concatenate(self.held)
            ready = self.waiting - self.waiting % self.rows
            self._write(whole[:ready])
            self.held, self.waiting = [whole[ready:].copy()], self.waiting - ready

    def flush(self) -> None:
        """Write the rest."""
        if self.waiting:
            self._write(np.concatenate(self.held))
            self.held, self.waiting = [], 0

    def _write(self, values: Array) -> None:
        end = self.done + len(values)
        if end > len(self.dataset):
            self.dataset.resize(end, 0)
        self.dataset[self.done : end] = values
        self.done = end


def _chunk(values: Array, samples: int | None) -> tuple[int, ...]:
    """Return the shape of a chunk: whole samples, or if one is large, some of its steps."""
    each = values[:1].nbytes or 1
    rows = min(max(1, CHUNK_BYTES // each), CHUNK_SAMPLES)
    shape = (rows if samples is None else min(rows, samples), *values.shape[1:])
    if each <= CHUNK_BYTES or len(shape) < 3:
        return shape
    return (1, max(1, CHUNK_BYTES * shape[1] // each), *shape[2:])


def _dataset(file: Any, name: str, first: Array, samples: int | None) -> Any:
    """Create a dataset; integers are packed to as many bits as the chunk needs, five times as fast as gzip.

    A checksum follows. h5py itself refuses one after this filter, because with floats it would be lossy. What is small
    and of a known number is stored as it is.
    """
    from h5py import Dataset, h5d, h5p, h5s, h5t, h5z

    shape = (samples or 0, *first.shape[1:])
    settings = h5p.create(h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)  # the same run makes the same file
    if 0 not in first.shape and (len(shape) > 1 or samples is None):
        settings.set_chunk(_chunk(first, samples))
        if first.dtype.kind in "iu":
            settings.set_scaleoffset(h5z.SO_INT, 0)
        settings.set_fletcher32()
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5s.create_simple(shape, (h5s.UNLIMITED if samples is None else samples, *shape[1:]))
    return Dataset(h5d.create(file.id, name.encode(), h5t.py_create(first.dtype), space, settings, links))
