"""Grids: the step of which all weights of an output are whole multiples, as after training with integer codes.

A block is a set of outputs with one factor on their weights. If the weights of a block are ``k * step`` with codes k
that its synapses hold, the factor ``2**e / step`` rounds none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nmdeploy.neurons.base import FloatArray, IntArray

ROUNDING = 1e-6
"""Relative distance of a weight from its grid, as float32 and the folding of gains leave it."""
CODES_MAX = 255
"""Largest magnitude of a code of 8 bits."""
BLOCKS_PER_PART = 8192
POWERS_MAX, POWERS_BESIDE, SAMPLE = 4, 8, 256
"""Exponents that are tried for the weights of a synapse: the most frequent ratios of steps, and those beside them."""
TRIES_MAX = 8
"""Most choices of the exponents of all synapses."""
Entries: TypeAlias = Iterable[tuple[IntArray, FloatArray]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


class Grids(NamedTuple):
    """Grids of blocks.

    Parameters
    ----------
    step : (blocks,) float
        Coarsest step of the block's weights: 0 if they lie on no grid, infinity if all of them are 0.
    largest : (blocks,) int
        Largest magnitude of a code, in steps.
    room : (blocks,) int
        Largest factor by which the codes can be multiplied and still are codes; 0 without a grid.
    """

    step: FloatArray
    largest: IntArray
    room: IntArray

    def of(self, blocks: IntArray) -> Grids:
        """Return the grids of some of the blocks, by their indices."""
        return Grids(self.step[blocks], self.largest[blocks], self.room[blocks])


def no_grids(blocks: int) -> Grids:
    """Return the grids of weights that lie on none."""
    return Grids(np.zeros(blocks), np.zeros(blocks, np.int64), np.zeros(blocks, np.int64))


def shared_grids(grids: Sequence[Grids]) -> Grids:
    """Return the grids that synapses share, each up to one power of two of its own for all blocks.

    That power is the exponent of the synapse's weights.
    """
    most = int(np.count_nonzero(np.logical_and.reduce([each.step > 0 for each in grids])))
    best = None
    for shared in islice(_shared(grids[0], grids[1:]), TRIES_MAX):
        if best is None or np.count_nonzero(shared.step) > np.count_nonzero(best.step):
            best = shared
        if np.count_nonzero(best.step) == most:
            break
    assert best is not None
    return best


def _shared(one: Grids, others: Sequence[Grids]) -> Iterator[Grids]:
    """Yield what the synapses share at powers that fit those before equally well: one can leave the next no room."""
    if not others:
        yield one
        return
    for power in islice(_fitting(one, others[0]), None if others[1:] else 1):
        yield from _shared(_join(one, _times(others[0], power)), others[1:])


def _times(grids: Grids, power: int) -> Grids:
    return grids._replace(step=np.ldexp(grids.step, power))


def _fitting(one: Grids, other: Grids) -> Iterator[int]:
    """Yield the powers of two on the steps of `other` with which most of a sample of the blocks share a grid."""
    both = np.flatnonzero((one.step > 0) & (other.step > 0) & np.isfinite(one.step) & np.isfinite(other.step))
    sample = both[:: both.size // SAMPLE + 1]
    if not sample.size:
        yield 0
        return
    one, other = one.of(sample), other.of(sample)
    less = []
    for power in _powers(one.step / other.step):
        found = int(np.count_nonzero(_join(one, _times(other, power)).step))
        if found == sample.size:
            yield power
        else:
            less.append((-found, power))
    yield from (power for _, power in sorted(less, key=itemgetter(0)))


def _powers(ratios: FloatArray) -> list[int]:
    """Return powers of two near ratios of steps: 0, the most frequent ones, and those beside them."""
    found, counts = np.unique(np.rint(np.log2(ratios)), return_counts=True)
    nearest = found[np.argsort(-counts, kind="stable")][:POWERS_MAX].astype(np.int64)
    near = nearest[:, None] + np.arange(-POWERS_BESIDE, POWERS_BESIDE + 1)
    return list(dict.fromkeys([0, *nearest.tolist(), *near.ravel().tolist()]))


def _join(one: Grids, other: Grids) -> Grids:
    """Return the coarsest grid of both: its step is that of `one` by q, and that of `other` by p."""
    alone, empty = np.isinf(other.step), np.isinf(one.step)
    both = (one.step > 0) & (other.step > 0) & ~alone & ~empty
    ratio = np.divide(other.step, one.step, out=np.ones(both.shape), where=both)
    q = np.zeros(both.shape, np.int64)
    for part in np.array_split(np.flatnonzero(both), both.size // BLOCKS_PER_PART + 1):
        q[part] = _denominator(ratio[part], one.room[part], other.room[part])
    found, q = q > 0, np.maximum(q, 1)
    p = np.maximum(np.rint(ratio * q).astype(np.int64), 1)

    def chosen(joined: Any, first: Any, second: Any) -> Any:
        return np.where(found, joined, np.where(alone, first, np.where(empty, second, 0)))

    return Grids(
        chosen(one.step / q, one.step, other.step),
        chosen(np.maximum(one.largest * q, other.largest * p), one.largest, other.largest),
        chosen(np.minimum(one.room // q, other.room // p), one.room, other.room),
    )


def _denominator(ratio: FloatArray, q_max: IntArray, p_max: IntArray) -> IntArray:
    """Return the smallest q with ``ratio = p / q`` within the limits of both, or 0."""
    counts = np.arange(1, CODES_MAX + 1)
    times = ratio[:, None] * counts
    p = np.rint(times)
    fits = ~_off(times) & (p > 0) & (counts <= q_max[:, None]) & (p <= p_max[:, None])
    return _first(fits, counts)


def find_grids(ends: tuple[FloatArray, FloatArray], entries: Callable[[], Entries], codes: tuple[int, int]) -> Grids:
    """Return the grids of the blocks of a synapse.

    The largest magnitude of a block is K steps, with K at most 255. The smallest K is tried on all weights. A weight
    that it does not fit excludes all other K that do not fit it, so that most random weights need one look at a few.

    Parameters
    ----------
    ends : two arrays of shape (blocks,)
        Smallest and largest weight of each block, 0 included.
    entries : callable
        Returns pairs of arrays that broadcast: the block of each weight, and the weights.
    codes : two int
        Smallest and largest code.
    """
    low, high = codes
    peak = np.maximum(-ends[0], ends[1])
    safe = np.where(peak > 0, peak, 1.0)
    most = np.floor(np.minimum(_codes_at(high, safe, ends[1]), _codes_at(-low, safe, -ends[0])) * (1 + ROUNDING))
    counts = np.arange(1, max(high, -low) + 1)
    fits = (counts <= most[:, None]) & (peak > 0)[:, None]
    smallest = _first(fits, counts)
    while _exclude(entries(), smallest, safe, fits, counts):
        pass
    on_grid = np.maximum(smallest, 1)
    room = np.where(smallest > 0, np.minimum(most, CODES_MAX) // on_grid, 0).astype(np.int64)
    return Grids(np.where(peak > 0, np.where(smallest > 0, peak / on_grid, 0.0), np.inf), smallest, room)


def _codes_at(code: int, peak: FloatArray, end: FloatArray) -> FloatArray:
    """Return how many steps the peak may have so that `end` is at most `code` steps; infinity where `end` is 0."""
    return np.asarray(np.divide(code * peak, end, out=np.full(peak.shape, np.inf), where=end > 0))


def _first(fits: BoolArray, counts: IntArray) -> IntArray:
    """Return for each row the first of `counts` that fits, or 0."""
    return np.where(fits.any(1), counts[fits.argmax(1)], 0)


def _exclude(entries: Entries, smallest: IntArray, peak: FloatArray, fits: BoolArray, counts: IntArray) -> bool:
    """Take counts that some weight does not fit from `fits` and `smallest`; return True if there were any."""
    changed = False
    for blocks, values in entries:
        if not (smallest[blocks] > 0).any():
            continue
        ratios = values / peak[blocks]
        off = _off(ratios * smallest[blocks])
        if off.any():
            changed = True
            failing = np.zeros(peak.size)
            failing[np.broadcast_to(blocks, off.shape)[off]] = ratios[off]
            (rows,) = np.nonzero(failing)
            for part in np.array_split(rows, rows.size // BLOCKS_PER_PART + 1):
                fits[part] &= ~_off(failing[part, None] * counts)
                smallest[part] = _first(fits[part], counts)
    return changed


def _off(multiples: FloatArray) -> BoolArray:
    return np.asarray(np.abs(multiples - np.rint(multiples)) > ROUNDING * np.abs(multiples))
