"""Samples from an .npz file, checked against what the model takes."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadData, BadFile
from nmdeploy.network import Input
from nmdeploy.neurons.base import IntArray

DIRECTORY_ENTRY = b"PK\x01\x02"
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Data:
    """Input codes (samples, steps, channels), labels (samples,) or None, and valid steps (samples,)."""

    codes: IntArray
    labels: IntArray | None
    lengths: IntArray

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.codes)

    def first(self, samples: int | None) -> Data:
        """The first samples, or all."""
        part = slice(samples)
        return Data(self.codes[part], None if self.labels is None else self.labels[part], self.lengths[part])


def load_data(path: str | Path, expected: Input, classes: int | None = None) -> Data:
    """Read and check an .npz with ``inputs``, optionally ``labels`` and ``lengths``.

    Parameters
    ----------
    path : path of the .npz
    expected : the model's input: shape a step, and format of the codes
    classes : number of outputs, for the range of the labels

    Raises
    ------
    BadFile, BadData
        One line that names the file, the array, the limit and the remedy.
    """
    arrays = _read(Path(path))
    if "inputs" not in arrays:
        raise BadData(f"{path}: holds no array 'inputs': save one of shape (samples, steps, {expected.size})")
    codes = _codes(path, arrays["inputs"], expected)
    samples, steps = codes.shape[:2]
    lengths = _vector(path, arrays, "lengths", samples, 1, steps)
    labels = _vector(path, arrays, "labels", samples, 0, None if classes is None else classes - 1)
    return Data(codes, labels, np.full(samples, steps, np.int64) if lengths is None else lengths)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.exists():
        raise BadFile(f"{path}: there is no such file: check the path given to --data")
    if path.is_dir():
        raise BadFile(f"{path}: is a folder: give an .npz file")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not hasattr(archive, "files"):
                raise BadFile(f"{path}: is a single array: save it as 'inputs' with numpy.savez")
            with archive:
                _check_members(archive)
                return {name: archive[name] for name in ("inputs", "labels", "lengths") if name in archive.files}
    except ValueError as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise BadFile(f"{path}: holds an object array or a pickle, which is never loaded: save numbers") from None
        raise BadFile(f"{path}: is damaged or no .npz file ({_short(error)}): save it again with numpy.savez") from None
    except DAMAGED as error:
        raise BadFile(f"{path}: is damaged or no .npz file ({_short(error)}): save it again with numpy.savez") from None


def _check_members(archive: Any) -> None:
    """Every member's name and checksum, and that none is hidden: a damaged directory must not make arrays vanish."""
    damaged = archive.zip.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"checksum of {damaged!r} differs")
    if any(DIRECTORY_ENTRY in info.comment + info.extra for info in archive.zip.infolist()):
        raise zipfile.BadZipFile("an entry of its directory hides another")


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__


def _codes(path: str | Path, inputs: npt.NDArray[Any], expected: Input) -> IntArray:
    if inputs.dtype.kind not in "biuf":
        raise BadData(f"{path}: 'inputs' holds values of type {inputs.dtype}: give integers or floats")
    if inputs.ndim < 2 or inputs.shape[2:] not in (expected.shape, (expected.size,)):
        raise BadData(
            f"{path}: 'inputs' has shape {inputs.shape}; the model takes (samples, steps, "
            f"{', '.join(map(str, expected.shape))}): check the number of channels"
        )
    if inputs.shape[0] == 0 or inputs.shape[1] == 0:
        raise BadData(f"{path}: 'inputs' has shape {inputs.shape}, no sample or no step: give at least one of each")
    flat = inputs.reshape(*inputs.shape[:2], expected.size)
    number = expected.format
    if flat.dtype.kind == "f":
        if not np.isfinite(flat).all():
            raise BadData(f"{path}: 'inputs' holds NaN or infinite values: replace them")
        flat = np.rint(np.ldexp(flat.astype(np.float64), number.frac))
    if flat.min() < number.min or flat.max() > number.max:
        worst = float(flat.min() if flat.min() < number.min else flat.max())
        raise BadData(
            f"{path}: 'inputs' holds {worst * number.step if inputs.dtype.kind == 'f' else int(worst):g}; the model's "
            f"input encoding takes codes {number.min} to {number.max} in steps of {number.step:g}: rescale the inputs"
        )
    return flat.astype(np.int64)


def _vector(
    path: str | Path, arrays: dict[str, npt.NDArray[Any]], name: str, samples: int, low: int, high: int | None
) -> IntArray | None:
    if name not in arrays:
        return None
    values = arrays[name]
    if values.shape != (samples,) or values.dtype.kind not in "iu":
        raise BadData(f"{path}: {name!r} has shape {values.shape} and type {values.dtype}: give ({samples},) integers")
    if values.min() < low or (high is not None and values.max() > high):
        raise BadData(
            f"{path}: {name!r} holds {int(values.min())} to {int(values.max())}, "
            f"allowed is {low} to {high}: correct the values"
        )
    return values.astype(np.int64)
