"""Loss of a quantization by its effect, per population and tensor.

Each tensor has the worst change among its rows or neurons, in the unit that its meaning gives it: a row of weights by
its relative error, a decay by the steady gain that it changes, a bias by its share of the threshold. With calibration
data, the population is also run by itself, on what arrives at it in the float network, with this tensor alone rounded,
and with all integers at once. The spikes that differ from those of the float population are counted.

Where the drive of a population makes up for a rounded decay, both are one change: that decay alone is rounded with its
drive, and the other tensors are compared in the population that has both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, QuantizedNeuron
from nmdeploy.neurons.decays import steady_gain
from nmdeploy.neurons.rounded import RoundedPopulation, RoundedTensor, is_equal
from nmdeploy.quantization.bias_terms import rest_of_bias
from nmdeploy.quantization.population_runs import (
    Arrivals,
    SynapticSums,
    run_float_population,
    run_integer_population,
    synapse_sums,
    synaptic_sums,
)
from nmdeploy.synapses.base import Synapse

UPDATES_MAX = 6_000_000
"""Most state updates (states, samples and steps) of a run that counts spikes: 10,000 neurons, 16 samples of 32 steps.

A run of that size takes about a second for each tensor of a LIF population. More samples are left out, and it is said.
"""
WEIGHTS, BIASES, FLOORS, STATES = "weights", "biases", "floors", "states"


@dataclass(frozen=True)
class Difference:
    """Outputs of a population that differ from those of the float one on the same arriving values.

    Parameters
    ----------
    share : float
        Spikes that differ over the float population's spikes (over 1 if there are none). Of a readout: the root mean
        square error of the worst channel, over the root mean square of the largest channel.
    differing : int or None
        Spikes that differ: those missing and those added. None of a readout.
    spikes : int or None
        Spikes of the float population. None of a readout.
    """

    share: float
    differing: int | None = None
    spikes: int | None = None


@dataclass(frozen=True)
class TensorEffect:
    """Effect of the rounding of one tensor.

    Parameters
    ----------
    node : str
        Synapse or population that holds it.
    tensor : str
        ``weights``, ``biases`` or ``floors`` of a synapse; a field of the float population; ``states`` for the
        rounding of the states in every step.
    measure : {"row", "bias", "floor", "decay", "threshold", "coefficient", "steps"}
        Unit of `worst`: relative error of a row; share of the threshold; change of the steady gain; relative change.
    worst : float or None
        Largest change. None if nothing but a run shows it.
    at : int or None
        Row or neuron of the largest change.
    alone : Difference or None
        Effect on the outputs if this tensor alone is rounded. None without calibration data.
    """

    node: str
    tensor: str
    measure: str
    worst: float | None
    at: int | None
    alone: Difference | None = None


@dataclass(frozen=True)
class PopulationEffect:
    """Effects of the tensors of one population, the largest first, and of all its integers together.

    ``samples`` is the number of calibration samples that were run, 0 without calibration data. ``complete`` is false
    for a family that does not say what its integers hold.
    """

    population: str
    tensors: tuple[TensorEffect, ...]
    together: Difference | None
    samples: int
    complete: bool = True


def effects(
    network: Network,
    quantized: QuantizedNetwork,
    arrivals: Arrivals | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> tuple[PopulationEffect, ...]:
    """Return the effects of each population of `network`, whose integers are `quantized`.

    `arrivals` are those of calibration samples; without them no spikes are counted. `on_progress` is called with the
    number of populations done, and that of all.
    """
    found = []
    for name in network.populations:
        found.append(population_effect(network, quantized, name, arrivals))
        if on_progress is not None:
            on_progress(len(found), len(network.populations))
    return tuple(found)


def samples_within(network: Network, samples: int, steps: int) -> int:
    """Return how many samples a run of all populations may have: `UPDATES_MAX` state updates, and at least one."""
    states = 0
    for neuron in network.populations.values():
        start = neuron.start(1)
        states += max((values.size for values in start.values()), default=neuron.size)
    return int(min(samples, max(1, UPDATES_MAX // max(states * steps, 1))))


@dataclass(frozen=True, eq=False)
class _Part:
    """A population and the synapses into it, as the float network has them or with the drive of the integers."""

    neuron: Neuron
    incoming: Mapping[str, Synapse]
    is_driven: bool = False


def population_effect(
    network: Network, quantized: QuantizedNetwork, name: str, arrivals: Arrivals | None
) -> PopulationEffect:
    """Return the effects of one population, the largest first."""
    floats = _Part(network.populations[name], {e.source: network.synapses[e.source] for e in network.incoming[name]})
    base = _as_driven(floats, quantized, name)
    rounded = _rounded(floats, base, quantized.populations[name])
    found = [*_synapse_effects(base, quantized, name, rounded), *_neuron_effects(name, rounded)]
    if arrivals is None:
        ordered = sorted(found, key=lambda effect: -(effect.worst or 0.0))
        return PopulationEffect(name, tuple(ordered), None, 0, rounded is not None)
    together, alone = _differences(floats, base, quantized, name, rounded, arrivals)
    counted = [_with(effect, alone) for effect in found]
    if (name, STATES) in alone:
        counted.append(TensorEffect(name, STATES, "steps", None, None, alone[name, STATES]))
    counted.sort(key=lambda effect: -effect.alone.share if effect.alone else 0.0)
    return PopulationEffect(name, tuple(counted), together, arrivals.samples, rounded is not None)


def _with(effect: TensorEffect, alone: Mapping[tuple[str, str], Difference]) -> TensorEffect:
    difference = alone.get((effect.node, effect.tensor))
    return TensorEffect(effect.node, effect.tensor, effect.measure, effect.worst, effect.at, difference)


def _synapse_effects(
    part: _Part, quantized: QuantizedNetwork, name: str, rounded: RoundedPopulation | None
) -> Iterator[TensorEffect]:
    scale, frac = quantized.populations[name].scale, quantized.populations[name].frac_in
    threshold = None if rounded is None else rounded.threshold
    for source, synapse in part.incoming.items():
        codes = quantized.synapses[source]
        norms = synapse.row_norms()
        yield _worst(source, WEIGHTS, "row", synapse.row_errors(codes, scale) / np.where(norms > 0, norms, 1.0))
        exact = np.zeros(norms.size) if synapse.bias is None else synapse.bias
        own = np.zeros(norms.size) if codes.rounded_bias is None else codes.rounded_bias
        held = (own + rest_of_bias(quantized, source)) / scale
        if exact.any() or held.any():
            yield _worst(source, BIASES, "bias", np.abs(held - exact) / _size(exact, threshold))
        if codes.dropped_bits:
            mean = 0.5 * (1 - 2.0**-codes.dropped_bits) * np.ldexp(1.0, -frac) / scale
            gain = None if rounded is None else rounded.gain
            if gain is None or threshold is None or gain.size != mean.size:
                yield TensorEffect(source, FLOORS, "floor", None, None)
                continue
            yield _worst(source, FLOORS, "floor", mean * np.minimum(gain, STEADY_STEPS) / _size(mean, threshold))


STEADY_STEPS = 1000.0
"""Steps over which a mean shift of the sum adds up in a membrane whose decay is slower than that."""


def _size(values: FloatArray, threshold: FloatArray | None) -> FloatArray:
    """Return what a bias is compared with: the threshold of its neuron, if it has one of that size, or the bias."""
    size = np.abs(values)
    if threshold is not None and threshold.size == size.size:
        size = np.maximum(np.abs(threshold), size)
    return np.where(size > 0, size, 1.0)


def _neuron_effects(name: str, rounded: RoundedPopulation | None) -> Iterator[TensorEffect]:
    for field, tensor in ({} if rounded is None else rounded.tensors).items():
        if tensor.changed:
            threshold = None if rounded is None or rounded.threshold is None else rounded.threshold
            per_neuron = None if threshold is None else threshold.reshape(-1, *[1] * (tensor.exact.ndim - 1))
            yield _worst(name, field, tensor.measure, tensor.errors(per_neuron))


def _worst(node: str, tensor: str, measure: str, errors: FloatArray) -> TensorEffect:
    at = int(np.argmax(errors)) if errors.size else 0
    return TensorEffect(node, tensor, measure, float(errors[at]) if errors.size else 0.0, at)


def _as_driven(floats: _Part, quantized: QuantizedNetwork, name: str) -> _Part:
    """Return the part with rounded decays and a scaled drive, if its integers hold these.

    The weights of a scaled drive are those to which the integers' rows are nearer.
    """
    rounded, factor = floats.neuron.rounded_decays()
    if not (factor != 1).any() or not floats.incoming:
        return floats
    driven = {key: synapse.driven(factor) for key, synapse in floats.incoming.items()}
    scale, nearer = quantized.populations[name].scale, 0.0
    for key, synapse in floats.incoming.items():
        codes = quantized.synapses[key]
        nearer += np.sign(synapse.row_errors(codes, scale) - driven[key].row_errors(codes, scale)).sum()
    return _Part(rounded.driven(factor), driven, is_driven=True) if nearer > 0 else floats


def _rounded(floats: _Part, base: _Part, held: QuantizedNeuron) -> RoundedPopulation | None:
    """Return the tensors of the integers beside those of `base`, and beside the exact decays."""
    rounded, own = base.neuron.rounded(held), floats.neuron.rounded(held)
    if rounded is None or own is None or not base.is_driven:
        return rounded
    decays = {field: tensor for field, tensor in own.tensors.items() if tensor.measure == "decay"}
    return rounded._replace(tensors={**rounded.tensors, **decays})


@dataclass(frozen=True, eq=False)
class _FloatRun:
    """A float population by itself on its sums (samples, steps, input_size); others are compared with its outputs."""

    neuron: Neuron
    sums: FloatArray
    arrivals: Arrivals

    @cached_property
    def outputs(self) -> npt.NDArray[Any]:
        return run_float_population(self.neuron, self.sums, self.arrivals.lengths)

    def differs(self, outputs: npt.NDArray[Any]) -> Difference:
        return difference(self.neuron, self.outputs, outputs, self.arrivals.valid)

    def changed(self, neuron: Neuron, sums: FloatArray) -> Difference:
        """Return what another population, or other sums, make of the outputs."""
        return self.differs(run_float_population(neuron, sums, self.arrivals.lengths))

    def with_tensor(self, field: str, tensor: RoundedTensor, driven: bool) -> Difference:
        """Return what a rounded tensor makes of the outputs; a `driven` decay has the drive that keeps its gain."""
        neuron = self.neuron.with_tensor(field, tensor.values)
        if not driven:
            return self.changed(neuron, self.sums)
        drive = steady_gain(tensor.exact, tensor.values)
        return self.changed(neuron.driven(drive), self.sums * drive)


def _differences(
    exact: _Part,
    base: _Part,
    quantized: QuantizedNetwork,
    name: str,
    rounded: RoundedPopulation | None,
    arrivals: Arrivals,
) -> tuple[Difference, dict[tuple[str, str], Difference]]:
    """Return the difference that all integers make together, and those of single tensors by (node, tensor)."""
    neuron, population, lengths = exact.neuron, quantized.populations[name], arrivals.lengths
    sums = {key: synaptic_sums(synapse, quantized, key, arrivals) for key, synapse in base.incoming.items()}
    nothing = np.zeros((arrivals.samples, arrivals.steps, neuron.input_size))
    codes: IntArray = sum((each.codes for each in sums.values()), nothing.astype(np.int64))
    own = _FloatRun(base.neuron, sum((each.exact for each in sums.values()), nothing), arrivals)
    floats, driven = own, base.is_driven
    if driven:
        arriving = ((synapse, arrivals.values[key]) for key, synapse in exact.incoming.items())
        floats = _FloatRun(neuron, sum((synapse_sums(*each) for each in arriving), nothing), arrivals)
    integers = run_integer_population(population, codes, lengths)
    found: dict[tuple[str, str], Difference] = {}
    for source, part, changed in _changed_sums(sums):
        found[source, part] = own.changed(own.neuron, own.sums + changed)
    if rounded is None:
        return floats.differs(integers), found
    restored = own.neuron
    for field, tensor in rounded.tensors.items():
        if tensor.changed:
            restored = restored.with_tensor(field, tensor.values)
            run = floats if tensor.measure == "decay" else own
            found[name, field] = run.with_tensor(field, tensor, driven and tensor.measure == "decay")
    same_sums = np.ldexp(codes.astype(np.float64), -population.frac_in) / population.scale
    same_integers = run_float_population(restored, same_sums, lengths)
    found[name, STATES] = difference(neuron, same_integers, integers, arrivals.valid)
    return floats.differs(integers), found


def _changed_sums(sums: Mapping[str, SynapticSums]) -> Iterator[tuple[str, str, FloatArray]]:
    """Yield (synapse, tensor, change of the sums) for each tensor of a synapse that rounding changes."""
    for source, each in sums.items():
        for tensor, values in ((WEIGHTS, each.weights), (BIASES, each.biases), (FLOORS, each.floors)):
            if values is not None and not is_equal(each.exact, values):
                yield source, tensor, values - each.exact


def difference(
    neuron: Neuron, floats: npt.NDArray[Any], outputs: npt.NDArray[Any], valid: npt.NDArray[np.bool_]
) -> Difference:
    """Compare the outputs (samples, steps, outputs) of two runs of a population in their valid steps.

    `floats` are those of the float population, `outputs` what is compared with them, both in float units.
    """
    if neuron.spiking:
        spikes = int(np.count_nonzero((floats != 0) & valid))
        differing = int(np.count_nonzero((floats != outputs) & valid))
        return Difference(differing / max(spikes, 1), differing, spikes)
    error = np.sqrt(np.mean(np.where(valid, outputs - floats, 0.0) ** 2, (0, 1)))
    size = np.sqrt(np.mean(np.where(valid, floats, 0.0) ** 2, (0, 1)))
    most = float(size.max(initial=0.0))
    worst = float(error.max(initial=0.0))
    return Difference(worst / most if most else float(worst > 0))
