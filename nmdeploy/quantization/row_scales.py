"""Factors on the rows of spiking populations, chosen by the effect on their spikes on the calibration data.

A population whose integers lose spikes on what arrives at it in the float network is rounded again, with a factor of
its own for each row. Some candidates fill the width of the weights, others are a little smaller, which rounds the
weights another way. Each row keeps the factor with the smallest `SpikeRisk`. Rows do not depend on each other, because
all of them get the spikes of the float network. The scales are kept if fewer spikes differ in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nmdeploy.errors import NmdeployError
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig, QuantizedNeuron
from nmdeploy.neurons.scales import Limit, Scales, tightest
from nmdeploy.quantization.population_runs import Arrivals, float_sums, integer_sums, run_integer_population
from nmdeploy.quantization.post_training import (
    Drivers,
    Ranges,
    frac_of_scales,
    further_biases,
    rounded_parts,
    scales_at,
)
from nmdeploy.quantization.spike_risk import SpikeRisk
from nmdeploy.quantization.weight_scales import WeightScales

LOSS_MIN = 0.01
"""Share of a population's spikes that differ, over which better factors are looked for."""
CANDIDATES_MAX = 24
LEAST = 0.7
"""Smallest candidate for the factor of a row, as a share of the one that fills the width of its weights."""
WORK_MAX = 24_000_000_000
"""Most products of weights and arriving values in the search, shared evenly by the populations: some seconds."""


class _Integers(NamedTuple):
    """Integers of a population at some scales, and the sums (samples, steps, H) that its synapses give."""

    scales: Scales
    neuron: QuantizedNeuron
    sums: IntArray


@dataclass(frozen=True, eq=False)
class _Search:
    """Search for the factors of one population; `scales` are those of all populations."""

    network: Network
    name: str
    config: QuantizationConfig
    arrivals: Arrivals
    scales: Mapping[str, Scales]
    drivers: Drivers

    @cached_property
    def choice(self) -> WeightScales:
        return WeightScales(self.drivers.neuron, list(self.drivers.incoming.values()), self.config)

    @cached_property
    def sums(self) -> FloatArray:
        """(samples, steps, H) of the float network."""
        found: Any = 0.0
        for edge in self.network.incoming[self.name]:
            found = found + float_sums(self.network, edge.source, self.arrivals)
        return np.asarray(found)

    @cached_property
    def risk(self) -> SpikeRisk | None:
        return SpikeRisk.of(self.network.populations[self.name], self.sums, self.arrivals.lengths)

    @property
    def spikes(self) -> int:
        """Spikes of the float population."""
        return 0 if self.risk is None else int(np.count_nonzero(self.risk.spikes & self.arrivals.valid))

    @property
    def work(self) -> int:
        """Products of weights and arriving values in the run of one candidate."""
        weights = sum(shape[0] * shape[1] for shape in (s.shape for s in self.drivers.incoming.values()))
        return max(self.arrivals.samples * self.arrivals.steps * weights, 1)

    def integers(self, scales: Scales) -> _Integers:
        """Round the population, and run its synapses."""
        frac_of = frac_of_scales(self.network, self.scales)
        neuron, synapses, _ = rounded_parts(self.network, self.name, scales, frac_of, self.config)
        sums: Any = 0
        for source, further in further_biases(self.network, self.name, synapses, scales).items():
            frac = frac_of(self.network.incoming[source][0].source)
            for synapse in (synapses[source], *further):
                sums = sums + integer_sums(synapse, self.arrivals.values[source], frac)
        return _Integers(scales, neuron, np.asarray(sums))

    def differing(self, integers: _Integers) -> int:
        """Count the spikes of the integers that differ from those of the float population."""
        assert self.risk is not None
        outputs = run_integer_population(integers.neuron, integers.sums, self.arrivals.lengths)
        return int(np.count_nonzero((outputs != self.risk.spikes) & self.arrivals.valid))

    def risks(self, integers: _Integers) -> FloatArray:
        """Return the risk of each row: of the change of its sums and of its threshold."""
        assert self.risk is not None
        scales, neuron = integers.scales, self.network.populations[self.name]
        rounded = neuron.rounded(integers.neuron)
        assert rounded is not None
        threshold = rounded.tensors["v_threshold"]
        change = np.ldexp(integers.sums.astype(np.float64), -scales.frac_in) / scales.scale - self.sums * scales.drive
        found = self.risk.of_change(change, threshold.values - threshold.exact)
        return np.asarray(np.bincount(self.choice.rows, found), np.float64)

    def at(self, factors: FloatArray, frac: int) -> _Integers | None:
        """Return the integers at given factors, with at most `frac` fraction bits of the sums; None if none fit."""
        try:
            scales = scales_at(self.name, self.drivers, factors, self.config)
            limits = (*scales.limits["frac_in"], Limit("rows", frac, "the factors of the rows were chosen for it"))
            fracs, table = {**scales.fracs, "frac_in": tightest(limits)}, {**scales.limits, "frac_in": limits}
            return self.integers(replace(scales, fracs=fracs, limits=table))
        except NmdeployError:
            return None

    def found(self, start: Scales) -> Iterator[_Integers]:
        """Yield the integers with the best factor of each row, at the fraction bits of `start` and without floors."""
        offered = self.drivers.frac_offered(self.choice.filling(), self.config)
        fracs = list(dict.fromkeys((start.frac_in, offered)))
        share = WORK_MAX // len(self.network.populations)
        count = min(share // self.work // len(fracs), CANDIDATES_MAX)
        for frac in fracs if count else ():
            best = self._best(frac, list(self._candidates(frac, count, start)))
            made = None if best is None else self.at(best, frac)
            if made is not None:
                yield made

    def _candidates(self, frac: int, count: int, start: Scales) -> Iterator[FloatArray]:
        rows = self.choice.rows
        room = np.full(int(rows.max()) + 1, np.inf)
        np.minimum.at(room, rows, self.drivers.factors_max(frac))
        largest = np.minimum(self.choice.filling(), room[rows])
        yield from (largest * share for share in np.geomspace(1.0, LEAST, count))
        if frac == start.frac_in:
            yield start.scale

    def _best(self, frac: int, candidates: list[FloatArray]) -> FloatArray | None:
        """Return the factors of each row that have the smallest risk; None if no candidate fits."""
        best, least = None, np.full(int(self.choice.rows.max()) + 1, np.inf)
        for factors in candidates:
            made = self.at(factors, frac)
            if made is not None:
                risks = self.risks(made)
                better = (risks < least)[self.choice.rows]
                best = factors if best is None else np.where(better, factors, best)
                least = np.minimum(risks, least)
        return best


def refined_scales(
    network: Network,
    scales: Mapping[str, Scales],
    ranges: Ranges,
    config: QuantizationConfig,
    arrivals: Arrivals,
    on_progress: Callable[[int, int], object] | None = None,
) -> tuple[dict[str, Scales], tuple[str, ...]]:
    """Return the scales of the populations, with better factors where that saves spikes, and a line that says so.

    `on_progress` is called with the number of populations done, and that of all.
    """
    found: dict[str, Scales] = {name: scales[name] for name in network.populations}
    said = []
    for done, (name, neuron) in enumerate(network.populations.items(), 1):
        if neuron.linear_response is not None and network.incoming[name]:
            drive = scales[name].drive if (scales[name].drive != 1).any() else None
            search = _Search(network, name, config, arrivals, scales, Drivers.of(network, name, ranges, drive))
            found[name], words = _better(search, scales[name])
            said += [f"{name!r} ({words})"] if words else []
        if on_progress is not None:
            on_progress(done, len(found))
    return found, (f"rows have factors of their own, chosen on these data, in {', '.join(said)}",) if said else ()


def _better(search: _Search, scales: Scales) -> tuple[Scales, str]:
    """Return the scales with the fewest spikes that differ, and in words what they save; no words if they stay."""
    before = search.differing(search.integers(scales))
    if before <= LOSS_MIN * search.spikes:
        return scales, ""
    after, best = before, scales
    for made in search.found(scales):
        differing = search.differing(made)
        if differing < after:
            after, best = differing, made.scales
    return best, f"of {search.spikes:,} spikes {after:,} differ; before, {before:,}" if after < before else ""
