"""Post-training quantization: scales from calibration data, then integers from scales.

Each population gets a scale, a factor on its incoming weights and, inversely, on all that reads its state. The
network's function does not change. The population then chooses the fraction bits of its synaptic sum from its table of
limits. The exponents of its synapses follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.run.float_run import run_float_layers
from nmdeploy.errors import BadOption, CalibrationNeeded, DoesNotFit, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.float_run import OnSums
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, QuantizationConfig, QuantizationContext, QuantizedNeuron
from nmdeploy.neurons.scales import Scales
from nmdeploy.quantization.bias_terms import beside, bias_terms
from nmdeploy.quantization.remedies import exponent_remedy
from nmdeploy.quantization.weight_scales import WeightScales, grid_notes
from nmdeploy.synapses.base import QuantizedSynapse, Synapse
from nmdeploy.synapses.grids import ROUNDING
from nmdeploy.synapses.sparse import QuantizedSparse
from nmdeploy.synapses.weights import QuantizedWeights

SCALE_FACTOR_MAX = 2.0**200
Ranges = Mapping[str, Mapping[str, FloatArray]]
FracOf = Callable[[str], int]


def calibrate(
    network: Network, inputs: npt.ArrayLike, lengths: IntArray | None = None, on_sums: OnSums | None = None
) -> Ranges:
    """Return the largest magnitudes of the float network's states on `inputs` (samples, steps, channels), real values.

    `lengths` (samples,) are the valid steps; padding after them does not count. `on_sums` is that of `run_float`.
    """
    for name in network.populations:
        _require_range(network, name)
    return run_float_layers(network, inputs, observe=True, lengths=lengths, keep_spikes=False, on_sums=on_sums).ranges


def static_ranges(network: Network) -> Ranges:
    """Return bounds of the same magnitudes from the weights alone, for any input that the format allows."""
    found: dict[str, Mapping[str, FloatArray]] = {}
    for name in network.populations:
        found[name] = population_bounds(network, name, found)
    return found


def population_bounds(network: Network, name: str, ranges: Ranges) -> Mapping[str, FloatArray]:
    """Return the static bounds of one population, given those of its sources; `BadOption` if it has none."""
    _require_range(network, name)
    return network.populations[name].bounds(name, _a_max(network, name, ranges))


def choose_scales(
    network: Network,
    config: QuantizationConfig,
    ranges: Ranges | None = None,
    drives: Mapping[str, FloatArray] = MappingProxyType({}),
) -> dict[str, Scales]:
    """Return the scales of every population and synapse, by name; nothing is rounded.

    `ranges` are those of `calibrate`. Without them, static bounds are used, which cost resolution. `drives` are the
    factors that `choose_drives` found.
    """
    found = static_ranges(network) if ranges is None else ranges
    scales = {name: population_scales(network, name, config, found, drives.get(name)) for name in network.populations}
    return with_synapse_scales(network, scales, config)


def with_synapse_scales(
    network: Network, populations: Mapping[str, Scales], config: QuantizationConfig
) -> dict[str, Scales]:
    """Return the scales of every population and of every synapse, which follow from them."""
    scales = {name: populations[name] for name in network.populations}
    frac_of = frac_of_scales(network, scales)
    for name, own in dict(scales).items():
        for source in (edge.source for edge in network.incoming[name]):
            frac = _source_frac(network, source, frac_of)
            scales[source] = _driven(network, source, own).choose_scales(own.scale, own.frac_in, frac, config)
    return scales


def quantize_network(
    network: Network,
    config: QuantizationConfig,
    *,
    ranges: Ranges | None = None,
    scales: Mapping[str, Scales] | None = None,
    drives: Mapping[str, FloatArray] = MappingProxyType({}),
    profile: str = "loihi2",
) -> QuantizedNetwork:
    """Return the integers of every node.

    Parameters
    ----------
    network : Network
        The float network.
    config : QuantizationConfig
        Widths and rounding rules, from the profile and the user.
    ranges : mapping of str to mapping of str to array, optional
        Magnitudes as `calibrate` returns them. Without them, static bounds are used, which cost resolution.
    scales : mapping of str to Scales, optional
        Scales from `choose_scales` or from training. By default they are chosen from `ranges`.
    drives : mapping of str to array, optional
        Factors on the drives of populations whose decays are rounded, from `choose_drives`; 1 for the others.
    profile : str
        Name of the hardware profile, stored with the network.

    Raises
    ------
    BadOption
        Scales are missing or do not belong to this network, or there are neither ranges nor static bounds.
    DoesNotFit
        A weight exponent lies outside the range of `config`.
    UnsupportedParameter
        A number is too far from 1, or values that are no events feed a synapse.
    """
    notes: list[str] = []
    if scales is None:
        scales = choose_scales(network, config, ranges, drives)
        notes += [] if ranges else ["no calibration data: scales are static worst-case bounds"]
    _require_scales(network, scales)
    nodes, edges, said = _rounded(network, scales, config)
    return QuantizedNetwork(
        nodes, edges, network.dt, network.output, network.readout, profile, (*notes, *said), network.read_as
    )


def _rounded(
    network: Network, scales: Mapping[str, Scales], config: QuantizationConfig
) -> tuple[dict[str, Any], tuple[Edge, ...], list[str]]:
    """Return the integers of every node, the edges, and the lines of `round_population`."""
    nodes: dict[str, Any] = {network.input_name: network.input}
    further: dict[str, list[QuantizedSparse]] = {}
    notes: list[str] = []
    for name in network.populations:
        own = scales[name]
        frac_of = frac_of_scales(network, scales)
        quantized, synapses, said = round_population(network, name, own, frac_of, config, scales)
        nodes |= synapses | {name: quantized}
        notes += said
        further |= further_biases(network, name, synapses, own)
    more, edges = beside(network, further)
    return {name: nodes[name] for name in network.nodes} | more, (*network.edges, *edges), notes


@dataclass(frozen=True, eq=False)
class Drivers:
    """All that the scales of one population are chosen from, with the factor on its drive.

    Parameters
    ----------
    neuron : Neuron
    incoming : mapping of str to Synapse
    fracs : mapping of str to int
        Fraction bits of the codes that arrive at each synapse.
    a_max : (input_size,) float
        Largest magnitude of the synaptic sum, from the weights alone.
    ranges : mapping of str to array
        Its own ranges.
    drive : (input_size,) float or None
        Factor on the drive that the others hold already.
    """

    neuron: Neuron
    incoming: Mapping[str, Synapse]
    fracs: Mapping[str, int]
    a_max: FloatArray
    ranges: Mapping[str, FloatArray]
    drive: FloatArray | None

    @staticmethod
    def of(network: Network, name: str, ranges: Ranges, drive: FloatArray | None = None) -> Drivers:
        """Gather them; parameters are those of `population_scales`."""
        _require_range(network, name)
        neuron = network.populations[name]
        incoming = {e.source: network.synapses[e.source] for e in network.incoming[name]}
        if drive is not None:
            neuron, incoming = neuron.driven(drive), {source: s.driven(drive) for source, s in incoming.items()}
        frac_of = frac_of_ranges(network, ranges)
        fracs = {s: _source_frac(network, s, frac_of) for s in incoming}
        a_max = _a_max(network, name, ranges) * (1 if drive is None else drive)
        return Drivers(neuron, incoming, fracs, a_max, ranges[name], drive)

    def frac_offered(self, factors: FloatArray, config: QuantizationConfig) -> int:
        """Return the fewest fraction bits of the sums at which no exponent floors, at these factors."""
        return max((s.frac(factors, config) + self.fracs[source] for source, s in self.incoming.items()), default=0)

    def factors_max(self, frac: int) -> FloatArray:
        """Return the largest factor (input_size,) on each input with which the sums can have `frac` fraction bits."""
        return self.neuron.factors_max(frac, self.a_max, self.ranges)


def population_scales(
    network: Network, name: str, config: QuantizationConfig, ranges: Ranges, drive: FloatArray | None = None
) -> Scales:
    """Return the scales of one population.

    `ranges` are those of the population itself and of the populations that send graded values to it. `drive` is the
    factor on its drive, 1 if there is none.
    """
    drivers = Drivers.of(network, name, ranges, drive)
    return scales_at(name, drivers, _weight_scale(drivers, config), config)


def scales_at(name: str, drivers: Drivers, factors: FloatArray, config: QuantizationConfig) -> Scales:
    """Return the scales of one population with given factors (input_size,) on the weights of its inputs."""
    most = [s.frac_max(factors, drivers.fracs[source], config) for source, s in drivers.incoming.items()]
    context = QuantizationContext(
        scale=factors,
        frac=drivers.frac_offered(factors, config),
        a_max=drivers.a_max * factors,
        ranges=drivers.ranges,
        frac_max=min(most, default=0),
    )
    chosen = drivers.neuron.choose_scales(name, context, config)
    return chosen if drivers.drive is None else replace(chosen, drive=drivers.drive)


def further_biases(
    network: Network, name: str, synapses: Mapping[str, QuantizedSynapse], scales: Scales
) -> dict[str, list[QuantizedSparse]]:
    """Return the further bias synapses of a population, by the name of the one whose bias they complete."""
    most = network.populations[name].bias_terms
    return {
        source: list(bias_terms(_driven(network, source, scales), synapse, scales, most))
        for source, synapse in synapses.items()
    }


def round_population(
    network: Network,
    name: str,
    scales: Scales,
    frac_of: FracOf,
    config: QuantizationConfig,
    given: Mapping[str, Scales] = MappingProxyType({}),
) -> tuple[QuantizedNeuron, dict[str, QuantizedSynapse], list[str]]:
    """Return the integers of one population and its incoming synapses, and a line for each change that was necessary.

    `frac_of` returns the fraction bits of the code that a population or the input sends, by its name.
    """
    quantized, synapses, said = rounded_parts(network, name, scales, frac_of, config, given)
    floats = {source: _driven(network, source, scales) for source in synapses}
    if any(_is_rounded(floats[source], synapse, scales.scale) for source, synapse in synapses.items()):
        said += grid_notes(name, network.populations[name], floats, config)
    return quantized, synapses, said


def rounded_parts(
    network: Network,
    name: str,
    scales: Scales,
    frac_of: FracOf,
    config: QuantizationConfig,
    given: Mapping[str, Scales] = MappingProxyType({}),
) -> tuple[QuantizedNeuron, dict[str, QuantizedSynapse], list[str]]:
    """Return what `round_population` does, without looking for grids of the weights."""
    neuron = network.populations[name]
    quantized, said = (neuron.driven(scales.drive) if _drives(scales) else neuron).round(name, scales, config)
    synapses = {}
    for source in (edge.source for edge in network.incoming[name]):
        frac = _source_frac(network, source, frac_of)
        synapse = _driven(network, source, scales)
        own = given.get(source) or synapse.choose_scales(scales.scale, scales.frac_in, frac, config)
        synapses[source] = synapse.round(own, config)
        by_input = any(isinstance(network.nodes[edge.source], Input) for edge in network.incoming[source])
        fine = network.input.format if by_input else None
        _check_exponents(source, synapses[source], config, scales, len(network.incoming[name]) == 1, fine)
    return quantized, synapses, list(said)


def _is_rounded(synapse: Synapse, quantized: QuantizedSynapse, scale: FloatArray) -> bool:
    return bool((synapse.row_errors(quantized, scale) > ROUNDING * synapse.row_norms()).any())


def _drives(scales: Scales) -> bool:
    return bool((scales.drive != 1).any())


def _driven(network: Network, synapse: str, scales: Scales) -> Synapse:
    """Return a synapse with the drive of its population's scales."""
    found = network.synapses[synapse]
    return found.driven(scales.drive) if _drives(scales) else found


def frac_of_ranges(network: Network, ranges: Ranges) -> FracOf:
    """Return a function for the fraction bits of the code that a node sends, from the ranges of the populations."""
    return lambda source: _sent(network, source, ranges)[1]


def frac_of_scales(network: Network, scales: Mapping[str, Scales]) -> FracOf:
    """Return a function for the fraction bits of the code that a node sends, from the scales of the populations."""
    return lambda source: network.input.format.frac if source == network.input_name else scales[source].frac_out


def _require_scales(network: Network, scales: Mapping[str, Scales]) -> None:
    for name in network.populations:
        if name not in scales:
            raise BadOption(f"node {name!r}: no scales are given for it: choose them for every population")
    for name, own in scales.items():
        if name not in network.populations and name not in network.synapses:
            raise BadOption(f"node {name!r}: scales are given for it, the network has no such node: leave them out")
        population = name if name in network.populations else network.target[name]
        size = network.populations[population].input_size
        if own.scale.size != size:
            raise BadOption(
                f"node {name!r}: scales for {own.scale.size} inputs, it has {size}: choose them for this network"
            )
        if own.frac_in != scales[population].frac_in:
            raise BadOption(
                f"node {name!r}: its scales give its sums {own.frac_in} fraction bits, those of {population!r} "
                f"{scales[population].frac_in}: choose its scales again, or leave them out"
            )


def _require_range(network: Network, name: str) -> None:
    """Refuse numbers so far from 1 that the scales would leave float64 (`UnsupportedParameter`); any float32 passes."""
    for source in (edge.source for edge in network.incoming[name]):
        _require_between(f"synapse {source!r}: weight", network.synapses[source].row_magnitudes())
        bias = network.synapses[source].bias
        _require_between(f"synapse {source!r}: bias", np.zeros(1) if bias is None else np.abs(bias))
    for key, value in vars(network.populations[name]).items():
        if isinstance(value, np.ndarray):
            _require_between(f"node {name!r}: {key}", np.abs(value), 0.0)


def _require_between(what: str, magnitudes: FloatArray, low: float = 1 / SCALE_FACTOR_MAX) -> None:
    for worst in (magnitudes.max(initial=0.0), magnitudes.min(initial=SCALE_FACTOR_MAX, where=magnitudes > 0)):
        if worst and not low <= worst <= SCALE_FACTOR_MAX:
            raise UnsupportedParameter(
                f"{what}: magnitude {worst:g} is outside of {low:g} to {SCALE_FACTOR_MAX:g}: rescale the network"
            )


def _weight_scale(drivers: Drivers, config: QuantizationConfig) -> FloatArray:
    """Return the factor on the weights of each input, so that the sums keep the fraction bits of the weights."""
    neuron, incoming = drivers.neuron, drivers.incoming
    choice = WeightScales(neuron, list(incoming.values()), config)
    common = choice.common()
    if not incoming or not neuron.row_factors:
        return common
    offered = [synapse.frac(common, config) + drivers.fracs[source] for source, synapse in incoming.items()]
    return choice.per_row(drivers.factors_max(min(offered)))


def _sent(network: Network, name: str, ranges: Ranges) -> tuple[float, int]:
    """Return the largest magnitude that a population or the input sends, and the fraction bits of its code."""
    source = network.nodes[name]
    if isinstance(source, Input):
        number = source.format
        return float(np.abs(number.dequantize([number.min, number.max])).max()), number.frac
    assert isinstance(source, Neuron)
    if name not in ranges and not source.spiking:
        raise CalibrationNeeded(
            f"node {name!r}: values that feed back have no static bound: give calibration data (--data)"
        )
    return source.output_range(ranges.get(name, {}))


def _source_frac(network: Network, synapse: str, frac_of: FracOf) -> int:
    """Return the fraction bits of the codes that arrive at a synapse: an input's or graded format, or 0 for spikes."""
    for edge in network.incoming[synapse]:
        source = network.nodes[edge.source]
        if isinstance(source, Neuron) and not source.feeds_synapses:
            raise UnsupportedParameter(
                f"synapse {synapse!r}: its source {edge.source!r} sends values, not spikes; only spikes and the input "
                "can feed a synapse: make it a spiking population"
            )
    fracs = {frac_of(edge.source) for edge in network.incoming[synapse]}
    if len(fracs) > 1:
        raise BadOption(
            f"synapse {synapse!r}: its sources have different fraction bits {sorted(fracs)}: give each its own"
        )
    return fracs.pop() if fracs else 0


def _a_max(network: Network, population: str, ranges: Ranges) -> FloatArray:
    total = np.zeros(network.populations[population].input_size)
    for edge in network.incoming[population]:
        s_max = sum(_sent(network, e.source, ranges)[0] for e in network.incoming[edge.source])
        total = total + network.synapses[edge.source].a_max(s_max)
    return np.asarray(total)


def _check_exponents(
    name: str,
    synapse: QuantizedSynapse,
    config: QuantizationConfig,
    scales: Scales,
    alone: bool,
    source: FixedPoint | None,
) -> None:
    """Refuse weight exponents that the chip has not.

    `source` is the format of the input, if that is the source: with fewer fraction bits the weights need fewer.
    """
    low, high = config.weight_exp_min, config.weight_exp_max
    for exponent in synapse.chip_exponents:
        if not low <= exponent <= high:
            bound = f" by {scales.reason('frac_in')}" if scales.limits else ""
            cause = (
                f"the sum of its target has {scales.frac_in} fraction bits{bound}: {exponent_remedy(scales)}"
                if alone
                else "its weights are too far from those of the other synapses of its target: rescale them"
            )
            coarser = low - exponent
            of_weights = isinstance(synapse, QuantizedWeights) and exponent == synapse.weight_exp
            if source is not None and of_weights and 0 < coarser <= min(source.frac, source.bits - 1):
                cause += f"; or give --input-bits {source.bits - coarser} --input-frac {source.frac - coarser}"
            raise DoesNotFit(f"synapse {name!r}: weight exponent {exponent} is outside of {low} to {high}: {cause}")
