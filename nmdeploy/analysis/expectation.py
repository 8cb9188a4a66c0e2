"""Outputs and accuracy that a source is known to have, which its float network must have, too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadData, BadFile, BadOption, ImportDiffers
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network, readout_values
from nmdeploy.network.reading import Reading
from nmdeploy.samples.source import Data

VALUES_LIMIT = 1e-5
"""Largest error of outputs that are no spikes, relative to the largest; frameworks compute in float32."""
ROUNDING = 5e-5
"""Largest error of an accuracy of four digits."""


@dataclass(frozen=True)
class Expected:
    """Expected of a float network on the data: an .npy of outputs or readout, and an accuracy; None expects nothing."""

    outputs: str | Path | None = None
    accuracy: float | None = None


def with_expected(network: Network, data: Data | None, expected: Expected) -> Network:
    """Return the network, whose reading holds what was expected and met.

    Raises
    ------
    ImportDiffers
        The outputs or the accuracy are others.
    BadOption, BadData, BadFile
        There are no samples or labels, or the file does not hold outputs of them.
    """
    if expected == Expected():
        return network
    option = "--expect-accuracy" if expected.outputs is None else "--expect"
    if data is None:
        raise BadOption(f"{option}: is of samples: give them (--data)")
    run = run_float(network, data.as_values(network.input.format), lengths=data.lengths)
    found = {**_outputs(network, data, run.output, expected.outputs), **_accuracy(network, data, run.output, expected)}
    reading = network.read_as or Reading("the network")
    return replace(network, read_as=replace(reading, expected=found | {"line": _line(found)}))


def _line(found: dict[str, Any]) -> str:
    parts = [f"equal to {found['file']}, 0 of {found['values']:,} outputs differ"] if "file" in found else []
    parts += [f"accuracy {found['accuracy']:.4f} as expected"] if "accuracy" in found else []
    return f"expected: {'; '.join(parts)}"


def _outputs(network: Network, data: Data, output: npt.NDArray[Any], path: str | Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    wanted = _load(path)
    scores = readout_values(output.astype(np.float64), network.readout, data.lengths)
    actual = output.astype(np.float64) if wanted.ndim == 3 else scores
    if wanted.shape != actual.shape:
        raise BadData(
            f"{path}: outputs of shape {wanted.shape}: give {output.shape} (samples, steps, outputs) or {scores.shape} "
            "(samples, outputs)"
        )
    spiking = network.populations[network.output].spiking and network.readout != "mean"
    limit = 0.0 if spiking else VALUES_LIMIT * float(np.abs(wanted).max(initial=0.0))
    wrong = np.abs(actual - wanted) > limit
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        names = ("sample", "step", "output") if wanted.ndim == 3 else ("sample", "output")
        at = ", ".join(f"{name} {index}" for name, index in zip(names, place, strict=True))
        raise ImportDiffers(
            f"{path}: {int(wrong.sum()):,} of {wrong.size:,} outputs differ, first {at}: {wanted[place]:g} expected, "
            f"{actual[place]:g} computed: see how the source was read (nmdeploy check), and give the options it needs"
        )
    return {"file": Path(path).name, "values": int(wrong.size)}


def _load(path: str | Path) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file: check the path given to --expect") from None
    except (OSError, ValueError, TypeError):
        raise BadFile(f"{path}: holds no numbers: save outputs with numpy.save") from None


def _accuracy(network: Network, data: Data, output: npt.NDArray[Any], expected: Expected) -> dict[str, Any]:
    if expected.accuracy is None:
        return {}
    if data.labels is None:
        raise BadData("--expect-accuracy: the data hold no labels: add an array 'labels'")
    classes = readout_values(output, network.readout, data.lengths).argmax(1)
    found = float((classes == data.labels).mean())
    if abs(found - expected.accuracy) > max(0.5 / data.samples, ROUNDING):
        raise ImportDiffers(
            f"--expect-accuracy {expected.accuracy:g}: the float network has {found:.4f} on {data.samples} samples: "
            "see how the source was read (nmdeploy check), and give the options it needs"
        )
    return {"accuracy": found}
