"""Forms of the kernels and the layouts that their caller needs, without LLVM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower.lanes import Lane
from nmdeploy.engine.lower.slots import words
from nmdeploy.neurons.base import IntArray

DRIVER_NUMBERS = ("samples", "drain_steps", "chunk", "first", "last")
DRIVER_TABLES = ("lengths", "ranges", "kernels", "resets", "moves")
DRIVER_WORDS = ("awaited", "reached")
DRIVER_FIELDS = (*DRIVER_NUMBERS, *DRIVER_TABLES, *DRIVER_WORDS)
"""A program's arguments: numbers, then addresses of tables. Those after `lengths` begin with their row count.

A chunk begins once the word at `awaited` is at least the chunk's last step; then its last step is written to `reached`.
"""
INPUT_ARGS = ("codes", "out", "channels", "stride")
SYNAPSE_ARGS = (
    *("weights", "out", "counts", "events", "found", "codes", "table", "fan_out"),
    *("width", "inputs", "start_offset", "rows"),
)
SYNAPSE_POINTERS = 8
SOURCE_ARGS = ("address", "delay", "stride")
SYNAPSE_COUNTERS = ("input_events", "synaptic_operations", "computed_events", "synaptic_operations_computed")
ROWS_TOGETHER, SIDE = 4, 8
ARGS = ("own", "shared", "state", "scratch", "valid", "out", "record", "counts", "blocks", "start_offset")
POINTERS = ARGS[:8]


@dataclass(frozen=True)
class Form:
    """Properties that a population's kernel is written for.

    Parameters
    ----------
    lanes : int
        Neurons per block.
    ragged : bool
        True if the last block has idle lanes.
    sums : mapping of str to int
        Bits of each synapse's sums: 16 or 32, or 64 of real numbers (`real`).
    output_latency, send_steps : int
        Steps by which the output is late, and steps over which it is sent once.
    coded : bool
        True if outputs are stored as 32-bit codes, not as bits.
    recorded : bool
        True if binary outputs are also stored as bytes.
    traced : bool
        True if the recorded states are stored.
    """

    lanes: int
    ragged: bool
    sums: Mapping[str, int]
    output_latency: int
    send_steps: int
    coded: bool
    recorded: bool
    traced: bool

    @property
    def real(self) -> bool:
        """True for a float step: sums, outputs and recorded states are float64, and nothing is counted."""
        return 64 in self.sums.values()


@dataclass(frozen=True)
class RegisterPlace:
    """Place of a register in a block's memory: first slot, elements, and the kind of its lanes."""

    slot: int
    dims: tuple[int, ...]
    lane: Lane
    start: Any


@dataclass(frozen=True)
class Layout:
    """Memory layout that the caller of a population's kernel needs.

    Parameters
    ----------
    own : array of int32, shape (blocks, slots, lanes)
        Parameters that differ between neurons, as in memory, 32 bits per lane.
    shared : array of int64, shape (slots,)
        Parameters that all neurons share.
    registers : tuple of RegisterPlace
        Places of the registers.
    state_slots, scratch_slots : int
        Slots of a block's state and of its scratch memory.
    counters : tuple of str
        Names of the counters.
    traces : tuple
        Name, elements and bits of each recorded state.
    """

    own: npt.NDArray[np.int32]
    shared: IntArray
    registers: tuple[RegisterPlace, ...]
    state_slots: int
    scratch_slots: int
    counters: tuple[str, ...]
    traces: tuple[tuple[str, tuple[int, ...], int], ...]


def at_rest(layout: Layout, blocks: int, lanes: int) -> npt.NDArray[np.int32]:
    """Return the registers at rest, (blocks, slots, lanes); idle lanes repeat a neuron."""
    start: npt.NDArray[np.int32] = np.zeros((blocks, layout.state_slots, lanes), np.int32)
    for held in layout.registers:
        values = np.broadcast_to(held.start, (held.start.shape[0], *held.dims)).reshape(held.start.shape[0], -1)
        which = np.minimum(np.arange(blocks * lanes), len(values) - 1)
        kept = words(values[which].reshape(blocks, lanes, -1).transpose(0, 2, 1), held.lane)
        start[:, held.slot : held.slot + kept.shape[1]] = kept
    return start


@dataclass(frozen=True)
class RowsForm:
    """Properties that a synapse's kernel is written for.

    Parameters
    ----------
    sources : tuple of str
        Outputs of each source, ``bits`` or ``codes``. A single source of bits needs no multiplication.
    row_bits, sum_bits : int
        Widths of a weight in memory (8, 16, 32) and of a sum (16, 32).
    tail : int
        Columns of the last chunk of `CHUNK` columns, or 0 if it is a whole one.
    chunks : bool
        True if there are whole chunks.
    counted : bool
        True if rows have different numbers of synapses, which are added up one by one.
    hold_steps : int
        Steps over which the sum is constant.
    event_bits : int
        Width of an event's number in memory: 8, 16 or 32.
    compress : bool
        True if the processor compresses a vector of bytes by a mask: 64 channels are listed at once.
    paired : bool
        True if one instruction adds two rows of bytes into 16 bits (AVX-512 BW).
    sparse : bool
        True if rows are lists of entries of `row_bits`: the lower half is the column, the upper one the weight.
    """

    sources: tuple[str, ...]
    row_bits: int
    sum_bits: int
    tail: int
    chunks: bool
    counted: bool
    hold_steps: int
    event_bits: int
    compress: bool
    paired: bool
    sparse: bool = False

    @property
    def binary(self) -> bool:
        """True if events are 0 or 1."""
        return self.sources == ("bits",)


def order_columns(form: RowsForm, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return weights (rows, columns) as in memory: if rows are added in pairs, each 64 columns have another order.

    Column ``8 i + j`` of the first 32 moves to ``16 i + j``. The other columns follow each eight of these.
    """
    if not form.paired:
        return weights
    return weights.reshape(len(weights), -1, 2, 4, SIDE).swapaxes(2, 3).reshape(weights.shape)


def offsets() -> Any:
    """Return the positions of the set bits of every byte, lowest first, as (256, 8) bytes."""
    table = np.zeros((256, SIDE), np.uint8)
    for byte in range(256):
        places = [bit for bit in range(SIDE) if byte >> bit & 1]
        table[byte, : len(places)] = places
    return table
