"""The writer of recordings in HDF5 (docs/formats.md), part by part, in memory that does not grow with the samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.atomic_files import Unfailing, atomic_write, unwritable
from nmdeploy._util.signals import defer_signals
from nmdeploy.errors import BadData
from nmdeploy.recording.column import Column
from nmdeploy.recording.narrow import WIDEST, stored_width
from nmdeploy.recording.pieces import States
from nmdeploy.recording.types import ATTRIBUTES, Recording

FORMAT = "format_version"
VERSION = 2
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
    bits : mapping of population to mapping of state to int, optional
        Bits that a code of a state needs at most; 64 where none are given.

    Attributes
    ----------
    inputs_sha256 : str
        Digest of all samples; set it before the end of the block.
    """

    def __init__(
        self, path: str | Path, samples: int | None = None, bits: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        self.path, self.samples = path, samples
        self.names = tuple(bits or ())
        self.widths = {
            _place(name, state): stored_width(n) for name, held in (bits or {}).items() for state, n in held.items()
        }
        self.inputs_sha256 = ""
        self.done = self._bytes = 0
        self._columns: dict[str, Column] = {}
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

    def append_states(self, states: States, steps: int) -> None:
        """Add the next rows of the states of one sample of `steps` steps; `append` adds all else after the last ones.

        Raises
        ------
        BadFile, BadData
            As `append` does.
        """
        self._bytes += sum(values.nbytes for held in states.values() for values in held.values())
        with self._writing():
            self._require_layers(self.names or states)
            for name, held in states.items():
                for state, values in held.items():
                    stored = _bytes(values)
                    self._column(_place(name, state), (steps, *stored.shape[2:]), stored.dtype).append_rows(stored)

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
            self._require_layers(part.layers)
            for name, values in arrays.items():
                self._column(name, values.shape[1:], values.dtype).append(values)

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
            self._file.attrs[FORMAT] = VERSION
            for name in PART_ATTRIBUTES:
                self._file.attrs[name] = self._layout[name]
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
            most = self._bytes * (self.samples or self.done) // max(self.done, 1)
            raise unwritable(self.path, self._disk.error, most) from None

    def _column(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
        """Return the column of an array, which is created with its first values."""
        if name not in self._columns:
            width = self.widths.get(name, WIDEST)
            self._columns[name] = Column(self._file, name, shape, dtype, self.samples, width)
        return self._columns[name]

    def _require_layers(self, names: Iterable[str]) -> None:
        """Create the file and the groups of its layers; HDF5's cache is off, because only whole chunks are written."""
        if self._file is not None:
            return
        import h5py

        self._file = h5py.File(self._disk, "w", rdcc_nbytes=0)
        layers = self._file.create_group("layers", track_order=True)
        for name in names:
            group = layers.create_group(name)
            group.create_group("states", track_order=True)
            group.create_group("counts", track_order=True)


def _place(name: str, state: str) -> str:
    return f"layers/{name}/states/{state}"


def _bytes(values: Array) -> Array:
    """Return values as they are stored: what is binary as bytes."""
    return values.view(np.uint8) if values.dtype == bool else values


def _arrays(part: Recording) -> dict[str, Array]:
    """Return every array by its place in the file; binary spikes are bytes."""
    found = {f"output/{'spikes' if part.spiking else 'readout'}": part.output, "lengths": part.lengths}
    found |= {} if part.predictions is None else {"predictions": part.predictions}
    for name, layer in part.layers.items():
        found |= {} if layer.spikes is None else {f"layers/{name}/spikes": layer.spikes}
        found |= {_place(name, state): values for state, values in layer.states.items()}
        found |= {f"layers/{name}/counts/{metric}": values for metric, values in layer.counts.items()}
    return {name: _bytes(values) for name, values in found.items()}


def _layout(part: Recording, arrays: dict[str, Array]) -> dict[str, Any]:
    shapes = {name: (values.dtype, values.shape[1:], len(values) == part.samples) for name, values in arrays.items()}
    return shapes | {name: getattr(part, name) for name in PART_ATTRIBUTES}
