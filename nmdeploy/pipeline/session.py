"""Runs of a model on a sample that arrives step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.foreign import is_instance, tensor_array
from nmdeploy.backends import Stream
from nmdeploy.backends import backend as find_backend
from nmdeploy.errors import BadData, BadOption
from nmdeploy.neurons.base import UNKNOWN_STEPS
from nmdeploy.pipeline.arguments import Model, model_of


class Session:
    """Run of a quantized network on a sample that arrives step by step.

    The network's state is kept between calls. For inputs x[0] ... x[T - 1], in whatever blocks they are pushed, the
    outputs of all calls follow each other as

        y[0] ... y[T - 1] = nmdeploy.run(model, x[None]).output[0]

    bit for bit. A population with windows decides at a window's end, so y[t] is known `latency` steps after x[t]:
    `push` then returns y[t], and `flush` returns what is missing at the sample's end. A session belongs to one thread.

    Parameters
    ----------
    model : path of a model file, or QuantizedNetwork
    backend : {"auto", "compiled", "reference"}
        ``auto`` is `compiled`, or `reference` with a `RuntimeWarning` if the network cannot be compiled.

    Attributes
    ----------
    model : QuantizedNetwork
    backend : str
        Name of the backend that runs: "compiled" or "reference".
    latency : int
        Steps after x[t] until y[t] is returned; 0 without windows. On a chip, a step of every synapse is added:
        `model.latency`.
    steps : int
        Steps T that were pushed since the start or the last `reset`.

    Raises
    ------
    BadOption
        The backend runs whole samples only.

    Examples
    --------
    >>> import numpy as np, nmdeploy
    >>> from nmdeploy.cli.demo import demo_model
    >>> session = nmdeploy.Session(demo_model())
    >>> session.push(np.zeros(1)).shape  # one step of one channel
    (1, 10)
    >>> session.push(np.zeros((5, 1))).shape  # a block of steps
    (5, 10)
    >>> session.flush().shape, session.steps
    ((0, 10), 6)
    >>> session.reset()
    """

    def __init__(self, model: Model, backend: str = "auto") -> None:
        self.model = model_of(model)
        stream = find_backend(backend).stream
        if stream is None:
            raise BadOption(f"backend {backend!r} runs whole samples only: choose auto, compiled or reference")
        self._stream: Stream = stream(self.model)
        self.backend = self._stream.backend
        self.latency = self.model.output_delay
        self.steps, self._ended = 0, False
        form = self.model.input.format
        self._channels, self._low, self._high, self._frac = self.model.input.size, form.min, form.max, form.frac

    def push(self, inputs: npt.ArrayLike, *, codes: bool = False) -> npt.NDArray[Any]:
        """Run a step, or a block of steps.

        Parameters
        ----------
        inputs : (channels,) or (steps, channels) numbers
            Values, which the model's input format rounds, as for `nmdeploy.run`. The input's own shape may take the
            place of `channels`.
        codes : bool
            True if `inputs` are integers of the input format.

        Returns
        -------
        (k, outputs) bool, int or float
            The outputs that have become known, of the type of `Recording.output`: k is the number of steps, less in
            the first `latency` steps of a sample. The array is the caller's own.

        Raises
        ------
        BadData
            Inputs of another shape, or beyond the input format. Nothing was run then.
        BadOption
            The sample has ended: call `reset`. Or it would have 2**31 - 1 steps.
        """
        self._require_open("push")
        block = inputs if type(inputs) is np.ndarray else _array(inputs)
        if block.ndim != 2 or block.shape[1] != self._channels:
            block = self._block(block)
        if codes and block.dtype.kind not in "biu":
            raise BadData(f"codes of type {block.dtype}: give integers of the input's format")
        found = block if codes else self._rounded(block)
        if found.size and not (found.min() >= self._low and found.max() <= self._high):
            self._refuse(block, found, codes)
        steps = self.steps + len(found)
        if steps >= UNKNOWN_STEPS:
            raise BadOption(f"a sample of {steps} steps: limit {UNKNOWN_STEPS - 1}: call reset() before")
        outputs = self._stream.push(found)
        self.steps = steps
        return outputs

    def flush(self) -> npt.NDArray[Any]:
        """End the sample.

        Returns
        -------
        (k, outputs) bool, int or float
            The outputs of the last ``k = min(latency, steps)`` steps, as `push` returns them.

        Raises
        ------
        BadOption
            The sample has ended already.
        """
        self._require_open("flush")
        self._ended = True
        return self._stream.flush()

    def reset(self) -> None:
        """Begin the next sample, with the network at rest; outputs that were not returned are lost."""
        self._stream.reset()
        self.steps, self._ended = 0, False

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return the sample's counts by population and metric, as `Recording.layers` has them.

        They equal those of `nmdeploy.run` after `flush`. Before, populations with windows have not counted their last
        `latency` steps.
        """
        return self._stream.counts()

    def _require_open(self, call: str) -> None:
        if self._ended:
            raise BadOption(f"{call} after flush: the sample has ended: call reset() to begin the next one")

    def _block(self, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a step, or steps in the input's own shape, as (steps, channels)."""
        for step in ((self._channels,), self.model.input.shape):
            if inputs.shape == step or inputs.shape[1:] == step:
                return inputs.reshape(-1, self._channels)
        raise BadData(
            f"inputs of shape {inputs.shape}: give a step ({self._channels},), or a block (steps, {self._channels})"
        )

    def _rounded(self, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if block.dtype.kind not in "biuf":
            raise BadData(f"inputs of type {block.dtype}: give numbers")
        if block.dtype.kind != "f" and not self._frac:
            return block
        with np.errstate(over="ignore"):  # what is infinite now is refused
            return np.rint(np.ldexp(block.astype(np.float64), self._frac))

    def _refuse(self, block: npt.NDArray[Any], found: npt.NDArray[Any], codes: bool) -> None:
        """Raise `BadData` for the first value that the input format does not hold."""
        step, channel = np.argwhere(~((found >= self._low) & (found <= self._high)))[0]
        unit = 1 if codes else self.model.input.format.step
        low, high = (f"{code * unit:.15g}" for code in (self._low, self._high))
        kind = "codes" if codes else "values"
        raise BadData(
            f"{block[step, channel]} in step {self.steps + step}, channel {channel}: the model's {kind} are {low} to "
            f"{high}: rescale them, or clip them with numpy.clip(inputs, {low}, {high})"
        )


def _array(inputs: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return tensor_array(inputs) if is_instance(inputs, "torch", "Tensor") else np.asarray(inputs)
    except (TypeError, ValueError, RuntimeError):
        raise BadData("the inputs are no array of numbers: give (channels,) or (steps, channels)") from None
