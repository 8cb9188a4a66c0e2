"""Accuracies with the interval that the number of samples allows, and a warning where they are at chance.

There are three: of the float network on the inputs as given (``float``), of the float network on the inputs as the
format rounds them (``float_rounded_input``), and of the integers (``quantized``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from nmdeploy.analysis.comparison import correct
from nmdeploy.engine.run.float_run import run_float_layers
from nmdeploy.network.network import Network
from nmdeploy.samples.source import Data

Z = 1.959963984540054  # of 95 %, two-sided
NAMES = {
    "quantized": "integers",
    "float": "float network",
    "float_rounded_input": "float network on rounded inputs",
}
"""The accuracies, and their names for people, in the order in which they are printed."""
Accuracy = Mapping[str, Any]
"""JSON values: each accuracy by its name, and their ``interval``; None where it is not known."""


def wilson(right: int, samples: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share that was found on some samples.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    share, z2 = right / samples, Z * Z / samples
    middle = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2 * z2 / 4) / (1 + z2)
    low = 0.0 if right == 0 else middle - half
    return low, 1.0 if right == samples else middle + half


def accuracies(samples: int, quantized: int | None, floats: tuple[int, int] | None) -> dict[str, Any]:
    """Return the accuracies of as many samples, from the numbers that are right.

    Parameters
    ----------
    quantized : int, optional
        Right classes of the integers; None without labels.
    floats : (int, int), optional
        Those of the float network, on the inputs as given and as rounded.
    """
    given, rounded = (None, None) if floats is None else floats
    found = {"float": given, "float_rounded_input": rounded, "quantized": quantized}
    intervals = {name: None if right is None else list(wilson(right, samples)) for name, right in found.items()}
    shares = {name: None if right is None else right / samples for name, right in found.items()}
    return {**shares, "interval": intervals}


def right_of_floats(network: Network, chunk: Data) -> tuple[int, int]:
    """Return how many classes of the float network are the labels: on inputs as given, and as rounded."""
    number = network.input.format
    given, rounded = chunk.as_values(number), number.dequantize(chunk.codes)
    on_rounded = _right(network, rounded, chunk)
    return (on_rounded if (given == rounded).all() else _right(network, given, chunk)), on_rounded


def _right(network: Network, values: Any, chunk: Data) -> int:
    outputs = run_float_layers(network, values, lengths=chunk.lengths, keep_spikes=False).output
    return correct(outputs, network.readout, chunk.lengths, chunk.labels) or 0


def chance_warnings(accuracy: Accuracy, classes: int) -> Iterator[str]:
    """Yield a line for each accuracy whose interval holds that of a guess, 1 of so many classes."""
    chance = 1 / classes
    for name, said in NAMES.items():
        ends = (accuracy.get("interval") or {}).get(name)
        if classes > 1 and ends is not None and ends[0] <= chance <= ends[1]:
            yield (
                f"the accuracy of the {said}, {share_text(accuracy, name)}, is not different from chance "
                f"({chance:.4f} of {classes} classes)"
            )


def share_text(accuracy: Accuracy, name: str) -> str:
    """Return an accuracy with its interval.

    >>> share_text(accuracies(10, 8, None), "quantized")
    '0.8000 (95 %: 0.4902 to 0.9433)'
    """
    ends = (accuracy.get("interval") or {}).get(name)
    return f"{accuracy[name]:.4f}" + ("" if ends is None else f" (95 %: {ends[0]:.4f} to {ends[1]:.4f})")


def accuracy_lines(accuracy: Accuracy) -> Iterator[str]:
    """Yield the accuracies of a run: that of the integers, and those of the float network."""
    if accuracy["quantized"] is None:
        yield "accuracy of the integers over all samples: not available (no labels)"
        return
    yield f"accuracy of the integers over all samples: {share_text(accuracy, 'quantized')}"
    if accuracy["float"] is None:
        yield "float network: not given"
        return
    rounded = accuracy.get("float_rounded_input") is not None
    more = f"; on rounded inputs {share_text(accuracy, 'float_rounded_input')}" if rounded else ""
    yield f"float network: {share_text(accuracy, 'float')}{more}"
