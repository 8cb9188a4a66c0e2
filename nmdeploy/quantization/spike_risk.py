"""Risk that a change of its synaptic sums changes the spikes of a population.

Between spikes, the current and the membrane of a neuron respond linearly to its sums. A change of them makes the
membrane deviate by e, until the next spike of the float neuron resets it. A deviation matters where the membrane is
near its threshold. The risk of a neuron is the sum of ``abs(e) / (distance + 0.02 * threshold)`` over all steps. Unlike
a number of spikes it is smooth, so that factors with a small risk on the calibration data have one on other data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nmdeploy.neurons.base import FloatArray, IntArray, LinearResponse, Neuron, StepTime
from nmdeploy.quantization.population_runs import Array

NEAR = 0.02
"""Distance from the threshold, in thresholds, at which a deviation matters half as much as at the threshold."""


@dataclass(frozen=True, eq=False)
class SpikeRisk:
    """Float population on its sums, against which changes are held.

    Parameters
    ----------
    response : LinearResponse
    spikes : (samples, steps, H) bool
    weight : (samples, steps, H) float
        Weight of a deviation in each step: 0 in padding.
    """

    response: LinearResponse
    spikes: Array
    weight: FloatArray

    @staticmethod
    def of(neuron: Neuron, sums: FloatArray, lengths: IntArray) -> SpikeRisk | None:
        """Run a float population on its sums (samples, steps, H); None if its family has no linear response."""
        response = neuron.linear_response
        if response is None:
            return None
        state, spikes, weight = neuron.start(len(sums)), [], []
        least = np.where(response.threshold > 0, NEAR * response.threshold, 1.0)
        for step in range(sums.shape[1]):
            state, sent = neuron.step(state, sums[:, step], StepTime(step, sums.shape[1]))
            distance = np.abs(neuron.membrane_before_reset(state) - response.threshold)
            spikes.append(sent != 0)
            weight.append((step < lengths)[:, None] / (distance + least))
        return SpikeRisk(response, np.stack(spikes, 1), np.stack(weight, 1))

    def of_change(self, sums: FloatArray, threshold: FloatArray) -> FloatArray:
        """Return the risk (H,) of a change of the sums (samples, steps, H) and of the thresholds (H,)."""
        alpha, beta, _ = self.response
        current = membrane = np.zeros(sums[:, 0].shape)
        risk = np.zeros(sums.shape[2])
        for step in range(sums.shape[1]):
            current = alpha * current + sums[:, step]
            membrane = beta * membrane + current
            risk += (np.abs(membrane - threshold) * self.weight[:, step]).sum(0)
            membrane = np.where(self.spikes[:, step], 0.0, membrane)
        return risk
