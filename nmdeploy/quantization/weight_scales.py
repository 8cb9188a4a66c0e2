"""Factors on the weights of a population's inputs, which fill the width of the weights and keep codes of a grid exact.

A family of neurons has one factor for all its inputs, or one per input. A LIF population has one while its rows are
alike. If the largest weight of some row would be a code below `LARGEST_CODE_MIN`, the rows get factors of their own.
They are larger by powers of two, as far as threshold, bias and membrane leave room.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nmdeploy.neurons.base import FloatArray, IntArray, Neuron, QuantizationConfig
from nmdeploy.synapses.base import Synapse
from nmdeploy.synapses.grids import ROUNDING, shared_grids
from nmdeploy.synapses.scale_group import ScaleGroup, shared_peaks

LARGEST_CODE_MIN = 16
"""Largest code of a row below which rows get factors of their own: half a step is more than 3 % of it."""
GRID_WEIGHTS_MIN = 2
"""Fewest weights per block, as large as its largest, of a grid that a note names: fewer lie on one by chance."""


class _Exact(NamedTuple):
    """Factors of blocks that make all weights codes.

    Parameters
    ----------
    blocks : (input_size,) int
        Block of each input.
    unit : (blocks,) float
        Smallest factor: 0 if there is none, infinity for blocks without weights.
    times : (blocks,) float
        Power of two by which the factor can be larger, or the number with which the largest code fills the width.
    """

    blocks: IntArray
    unit: FloatArray
    times: FloatArray

    @property
    def kept(self) -> bool:
        """True if every block has such a factor."""
        return bool(self.unit.all())


@dataclass(frozen=True, eq=False)
class WeightScales:
    """Choice of the factors of one population's inputs.

    Parameters
    ----------
    neuron : Neuron
    incoming : sequence of Synapse
    config : QuantizationConfig
    """

    neuron: Neuron
    incoming: Sequence[Synapse]
    config: QuantizationConfig

    def common(self) -> FloatArray:
        """Return one factor for all inputs: (input_size,) equal numbers."""
        size = self.neuron.input_size
        if self.neuron.unscaled or not self.incoming:
            return np.ones(size)
        return self._factors(self._whole, np.full(1, np.inf))

    def per_row(self, most: FloatArray) -> FloatArray:
        """Return the factors of a neuron that may have one per input, (input_size,).

        None is above `most` (input_size,), except where the common factor is.
        """
        common, rows = self.common(), self.rows
        lowest = np.full(int(rows.max()) + 1, np.inf)
        np.minimum.at(lowest, rows, np.maximum(most, common))
        most = lowest[rows]
        if not self.neuron.per_channel:
            if self._whole.kept:
                return common
            if not self._by_row.kept:
                return common * self._gains(rows, most / common)
        return self._factors(self._by_row, lowest)

    def _gains(self, rows: IntArray, most: FloatArray) -> FloatArray:
        """Return powers of two, at most `most`, by which factors of rows of smaller weights are larger; 1 if alike."""
        peaks = self._peaks(rows)[rows]
        share = np.where(peaks > 0, peaks / (peaks.max(initial=0.0) or 1.0), 1.0)
        gains = np.maximum(_power_below(np.minimum(most, 1 / share)), 1.0)
        alike = (share * _top(self.config) >= LARGEST_CODE_MIN).all()
        return np.ones(gains.shape) if alike else gains

    @property
    def _groups(self) -> list[ScaleGroup]:
        return [synapse.scale_group for synapse in self.incoming]

    @cached_property
    def rows(self) -> IntArray:
        """(input_size,) the block of each input: inputs that share weights are in one block."""
        last = shared_peaks(self._groups, np.arange(self.neuron.input_size, dtype=np.float64))
        return np.asarray(np.unique(last, return_inverse=True)[1])

    def _peaks(self, blocks: IntArray) -> FloatArray:
        """(blocks,) the largest weight or bias.

        The biases of all rows share one scale, which must be fine enough for each.
        """
        peaks = np.zeros(int(blocks.max(initial=-1)) + 1)
        for synapse in self.incoming:
            np.maximum.at(peaks, blocks, synapse.row_magnitudes())
            if synapse.bias is not None:
                np.maximum.at(peaks, blocks, np.abs(synapse.bias))
        return peaks

    @property
    def keeps_grid(self) -> bool:
        """True if factors that the neuron can have make all weights codes."""
        return (self._by_row if self.neuron.row_factors else self._whole).kept

    @cached_property
    def _whole(self) -> _Exact:
        return self._exact(np.zeros(self.neuron.input_size, np.int64))

    @cached_property
    def _by_row(self) -> _Exact:
        return self._exact(self.rows)

    def _factors(self, exact: _Exact, most: FloatArray) -> FloatArray:
        """(input_size,) the factors of blocks: those that keep a grid, else those that make the peak fill the width.

        `most` (blocks,) is the largest one: factors become smaller by powers of two, those of a grid while it is kept.
        """
        blocks, unit, times = exact
        filled = self._filling(blocks)
        grid = (unit > 0) & np.isfinite(unit) & (unit <= most)
        allowed = np.divide(most, unit, out=np.ones(unit.shape), where=grid)
        kept = np.where(times <= allowed, times, _power_below(np.maximum(allowed, 1.0))) * unit
        filled = filled * np.minimum(_power_below(most / filled), 1.0)
        return np.asarray(np.where(grid, kept, filled)[blocks])

    def filling(self) -> FloatArray:
        """Return the factors (input_size,) that make the largest weight or bias of each row fill the width."""
        return self._filling(self.rows)[self.rows]

    def _filling(self, blocks: IntArray) -> FloatArray:
        peaks = self._peaks(blocks)
        return np.asarray(_top(self.config) / _power_above(_top(self.config)) / np.where(peaks > 0, peaks, 1.0))

    def _exact(self, blocks: IntArray) -> _Exact:
        shared = shared_grids([synapse.grids(blocks, self.config) for synapse in self.incoming])
        top = _top(self.config)
        filling = top // np.maximum(shared.largest, 1)
        fills = (filling * shared.largest == top) & (filling <= shared.room)
        times = np.where(fills, filling, _power_below(np.maximum(shared.room, 1)))
        with np.errstate(divide="ignore"):
            unit = 1 / _power_above(top) / shared.step
        return _Exact(blocks, np.where(shared.step > 0, np.where(np.isfinite(shared.step), unit, np.inf), 0.0), times)


def _top(config: QuantizationConfig) -> int:
    return (1 << (config.weight_bits - 1)) - 1 or 1


def _power_below(values: FloatArray | IntArray) -> FloatArray:
    return np.asarray(np.exp2(np.floor(np.log2(values))))


def _power_above(top: int) -> float:
    return float(np.exp2(np.ceil(np.log2(top))))


def grid_notes(name: str, neuron: Neuron, incoming: Mapping[str, Synapse], config: QuantizationConfig) -> Iterator[str]:
    """Yield a line that names the grids of a population's weights, if they lie on grids that no factors keep."""
    choice = WeightScales(neuron, list(incoming.values()), config)
    if neuron.unscaled or not incoming:
        return
    if choice.keeps_grid:
        return
    found = (_grid_text(source, synapse, choice.rows, config) for source, synapse in incoming.items())
    said = [text for text in found if text]
    if len(said) == len(incoming):
        yield (
            f"node {name!r}: weights lie on grids that no factor keeps together, so that their codes are rounded: "
            f"{', '.join(said)}: train them with steps that differ by powers of two"
        )


def _grid_text(name: str, synapse: Synapse, rows: IntArray, config: QuantizationConfig) -> str:
    """Return the grid of a synapse in words: one for all rows, or those of the rows; empty for random weights."""
    for blocks in (np.zeros_like(rows), rows):
        step = synapse.grids(blocks, config).step
        finite = step[np.isfinite(step)]
        if finite.size and (step > 0).all() and _evident(synapse):
            low, high = finite.min(), finite.max()
            return f"{name!r} {low:.3g}" if high <= low * (1 + 4 * ROUNDING) else f"{name!r} {low:.3g} to {high:.3g}"
    return ""


def _evident(synapse: Synapse) -> bool:
    """Return True if rows have enough weights: the ratio of their norm and their largest weight, squared."""
    norms, peaks = synapse.row_norms(), synapse.row_magnitudes()
    held = peaks > 0
    return bool(np.mean((norms[held] / peaks[held]) ** 2) >= GRID_WEIGHTS_MIN) if held.any() else False
