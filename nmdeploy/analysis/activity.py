"""Activity of each population in a run: its outputs, and the largest membrane of each neuron."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.analysis.dynamics import membrane_of
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import SPIKES, FloatArray, IntArray, Population
from nmdeploy.recording.types import Recording

Array = npt.NDArray[Any]
ALWAYS = 0.95  # share of the possible spikes from which on a neuron fires always


@dataclass(frozen=True, eq=False)
class Activity:
    """Activity of one population, or of the input.

    Parameters
    ----------
    outputs : (samples, steps, outputs)
        Values sent, 0 after the end of a sample; of a population that sends no events, its membranes.
    steps : int
        Valid steps of all samples together.
    peak : (H,) or None
        Largest membrane of each neuron; None if the run does not hold it.
    size : int
        Number of neurons.
    spiking : bool
        True if the outputs are events.
    graded : bool
        True if the outputs are no spikes of one size.
    refractory : int
        Silent steps after a spike.
    """

    outputs: Array
    steps: int
    peak: FloatArray | None
    size: int
    spiking: bool
    graded: bool = False
    refractory: int = 0

    @cached_property
    def mean(self) -> FloatArray:
        """(outputs,) mean value per step."""
        return np.asarray(self.outputs.sum((0, 1), dtype=np.float64) / self.steps)

    @cached_property
    def rates(self) -> FloatArray:
        """(H,) events of each neuron per output and step."""
        events = np.count_nonzero(self.outputs, (0, 1)) / self.steps
        return np.asarray(events.reshape(self.size, -1).mean(1))

    @property
    def silent(self) -> npt.NDArray[np.bool_]:
        """(H,) True for each neuron that sent no event."""
        return np.asarray(self.rates == 0)

    @property
    def always(self) -> npt.NDArray[np.bool_]:
        """(H,) True for each neuron that fired as often as its refractory period lets it."""
        return np.asarray(self.rates >= ALWAYS / (1 + self.refractory))

    def with_peak(self, peak: FloatArray) -> Activity:
        """Return the same activity with other largest membranes."""
        return replace(self, peak=peak)


def activity_of(population: Population, outputs: Array, membranes: Array | None, lengths: IntArray) -> Activity:
    """Return the activity of a run: outputs (samples, steps, outputs), membranes (samples, steps, H[, p])."""
    valid = _valid(lengths, outputs.shape[1])
    flat = outputs.reshape(*outputs.shape[:2], -1) * valid
    peak = None if membranes is None else _largest(membranes, valid, population.size)
    refractory = int(vars(population).get("refractory_steps", 0))
    graded = population.emits not in SPIKES
    return Activity(flat, int(lengths.sum()), peak, population.size, population.spiking, graded, refractory)


def integer_activity(network: QuantizedNetwork, recording: Recording) -> dict[str, Activity]:
    """Return the activity of each population in a recording with its states, in units of the float network."""
    found = {}
    for name, neuron in network.populations.items():
        layer = recording.layers[name]
        held = membrane_of(neuron)
        membranes = None if held is None else neuron.dequantize_state(held, layer.states[held])
        if layer.spikes is not None:
            outputs: Array = np.ldexp(layer.spikes.astype(np.float64), -neuron.output_frac)
        else:
            nothing = np.zeros((recording.samples, recording.steps, neuron.output_size))
            outputs = nothing if membranes is None else membranes
        found[name] = activity_of(neuron, outputs, membranes, recording.lengths)
    return found


def input_activity(values: Array, lengths: IntArray) -> Activity:
    """Return the activity of the input, its values (samples, steps, channels)."""
    valid = _valid(lengths, values.shape[1])
    return Activity(values * valid, int(lengths.sum()), None, values.shape[2], True)


def difference(exact: Activity, outputs: Array) -> tuple[float, int]:
    """Return how far other outputs are from those of a population, at most 1, and the number of differing spikes.

    The first is the number of spikes that differ per spike of the population. Of graded outputs and membranes, it is
    the energy of the error per energy of the values, and no spikes are counted.
    """
    if exact.graded:
        power, error = float(np.sum(exact.outputs**2)), float(np.sum((exact.outputs - outputs) ** 2))
        return (0.0 if error == 0 else min(error / power, 1.0) if power else 1.0), 0
    differ = int(np.count_nonzero(exact.outputs != outputs))
    return min(differ / max(int(np.count_nonzero(exact.outputs)), 1), 1.0), differ


def _valid(lengths: IntArray, steps: int) -> npt.NDArray[np.bool_]:
    return np.asarray((np.arange(steps) < lengths[:, None])[..., None])


def _largest(membranes: Array, valid: Array, size: int) -> FloatArray:
    flat = membranes.reshape(*membranes.shape[:2], size, -1).max(-1)
    return np.asarray(np.where(valid, flat, -np.inf).max((0, 1)), np.float64)
