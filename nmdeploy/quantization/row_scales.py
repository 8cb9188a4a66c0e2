"""Factors on the rows of spiking populations, chosen by the spikes that differ on the calibration data.

A population whose integers lose spikes on what arrives at it in the float network is rounded again, with a factor of
its own for each row. Some of them fill the width of the weights, others are a little smaller, which rounds the weights
another way. Each row keeps the factor with the fewest differing spikes. Rows do not depend on each other, because all
of them get the spikes of the float network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from nmdeploy.errors import NmdeployError
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import FloatArray, IntArray, QuantizationConfig
from nmdeploy.neurons.scales import Limit, Scales, tightest
from nmdeploy.quantization.population_runs import Arrivals, float_sums, integer_sums, run_float_population
from nmdeploy.quantization.population_runs import run_integer_population
from nmdeploy.quantization.post_training import (
    Drivers,
    Ranges,
    frac_of_scales,
    further_biases,
    round_population,
    scales_at,
)
from nmdeploy.quantization.weight_scales import WeightScales

LOSS_MIN = 0.01
"""Share of a population's spikes that differ, over which better factors are looked for."""
CANDIDATES_MAX = 24
LEAST = 0.7
"""Smallest candidate for the factor of a row, as a share of the one that fills the width of its weights."""
WORK_MAX = 50_000_000
"""Most updates of states and weights in the runs of all candidates of a population."""


class _Found(NamedTuple):
    """Scales and the differing spikes (rows,) that they lead to."""

    scales: Scales
    differing: IntArray

    @property
    def total(self) -> int:
        return int(self.differing.sum())


@dataclass(frozen=True, eq=False)
class _Search:
    """Search for the factors of one population.

    Parameters
    ----------
    network, name, config, arrivals
    scales : mapping of str to Scales
        Those of all populations.
    drivers : Drivers
    """

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
    def spikes(self) -> Any:
        """(samples, steps, outputs) of the float population."""
        sums = sum(float_sums(self.network, e.source, self.arrivals) for e in self.network.incoming[self.name])
        return run_float_population(self.network.populations[self.name], sums, self.arrivals.lengths)

    def found(self, scales: Scales) -> _Found:
        """Count the differing spikes of the integers at these scales, per row."""
        frac_of = frac_of_scales(self.network, self.scales)
        neuron, synapses, _ = round_population(self.network, self.name, scales, frac_of, self.config)
        codes: Any = 0
        for source, further in further_biases(self.network, self.name, synapses, scales).items():
            frac = frac_of(self.network.incoming[source][0].source)
            for synapse in (synapses[source], *further):
                codes = codes + integer_sums(synapse, self.arrivals.values[source], frac)
        outputs = run_integer_population(neuron, codes, self.arrivals.lengths)
        differs = np.count_nonzero((outputs != self.spikes) & self.arrivals.valid, axis=(0, 1))
        return _Found(scales, np.bincount(self.choice.rows, differs).astype(np.int64))

    def at(self, factors: FloatArray, frac: int) -> _Found | None:
        """Count those of given factors, with at most `frac` fraction bits of the sums; None if they do not fit."""
        try:
            scales = scales_at(self.name, self.drivers, factors, self.config)
            limits = (*scales.limits["frac_in"], Limit("rows", frac, "the factors of the rows were chosen for it"))
            fracs, table = {**scales.fracs, "frac_in": tightest(limits)}, {**scales.limits, "frac_in": limits}
            return self.found(replace(scales, fracs=fracs, limits=table))
        except NmdeployError:
            return None

    def best(self, start: _Found) -> _Found:
        """Return the scales with the fewest differing spikes."""
        steps = self.arrivals.samples * self.arrivals.steps
        work = steps * self.drivers.neuron.size + 4 * sum(s.shape[0] * s.shape[1] for s in self.drivers.incoming.values())
        offered = self.drivers.frac_offered(self.choice.filling(), self.config)
        fracs = list(dict.fromkeys((start.scales.frac_in, offered)))
        count = min(WORK_MAX // work // len(fracs), CANDIDATES_MAX)
        tried = [self._rows(frac, count, start) for frac in fracs] if count else []
        return min([start, *(one for one in tried if one)], key=lambda one: one.total)

    def _rows(self, frac: int, count: int, start: _Found) -> _Found | None:
        """Return the scales with the best factor of each row at these fraction bits of the sums."""
        room = np.full(int(self.choice.rows.max()) + 1, np.inf)
        np.minimum.at(room, self.choice.rows, self.drivers.factors_max(frac))
        factors = np.minimum(self.choice.filling(), room[self.choice.rows])
        candidates = [factors * share for share in np.geomspace(1.0, LEAST, count)]
        if frac == start.scales.frac_in:
            candidates.append(start.scales.scale)
        tried = [(each, one) for each in candidates if (one := self.at(each, frac)) is not None]
        if not tried:
            return None
        best = np.argmin([one.differing for _, one in tried], axis=0)[self.choice.rows]
        return self.at(np.choose(best, [each for each, _ in tried]) if len(tried) < 32 else None, frac)


def refined_scales(
    network: Network, scales: Mapping[str, Scales], ranges: Ranges, config: QuantizationConfig, arrivals: Arrivals
) -> tuple[dict[str, Scales], tuple[str, ...]]:
    """Return the scales of the populations, with better factors where that saves spikes, and a line that says so."""
    found: dict[str, Scales] = {name: scales[name] for name in network.populations}
    said = []
    for name, neuron in network.populations.items():
        if not neuron.spiking or not neuron.row_factors or not network.incoming[name]:
            continue
        drive = scales[name].drive if (scales[name].drive != 1).any() else None
        drivers = Drivers.of(network, name, ranges, drive)
        search = _Search(network, name, config, arrivals, found, drivers)
        start = search.found(scales[name])
        spikes = int(np.count_nonzero((search.spikes != 0) & arrivals.valid))
        if start.total <= LOSS_MIN * spikes:
            continue
        best = search.best(start)
        if best.total < start.total:
            found[name] = best.scales
            said.append(f"{name!r} (of {spikes:,} spikes {best.total:,} differ; with common ones {start.total:,})")
    return found, (f"rows have factors of their own in {', '.join(said)}",) if said else ()
