"""A run of one sample while it arrives, block by block of steps.

The registers stay in memory between blocks. Input codes, outputs and traces lie in windows of rows, one row per step.
At a window's end, the rows that delays and late outputs still read move to its start, and all pointers move along.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nmdeploy.engine.lower import layout
from nmdeploy.engine.lower.program import Program
from nmdeploy.engine.run.memory import NO_ROWS, Spare
from nmdeploy.engine.run.runner import FIRST, LAST, Worker, allocate_results
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import UNKNOWN_STEPS, IntArray

RESETS = layout.DRIVER_FIELDS.index("resets")
WINDOW_BYTES, WINDOW_STEPS = 1 << 20, 32


def steps_behind(network: QuantizedNetwork) -> int:
    """Return the steps before the next one whose rows are still read or written, one more for outputs."""
    timing, nodes = network.timing, network.nodes
    read = [timing.start_offset[edge.target] + edge.delay for edge in network.edges]
    written = [timing.start_offset[name] + timing.output_latency[name] for name in nodes]
    return max(*read, *written) + 1


def window_rows(row_bytes: int, behind: int) -> int:
    """Return the rows of a window: at least half of them are new before they move."""
    return behind + max(behind, WINDOW_STEPS, WINDOW_BYTES // row_bytes)


class SampleRun:
    """Memory of a sample that arrives in blocks, and the call that runs them.

    Parameters
    ----------
    program : Program
        Kernels of the network.
    """

    def __init__(self, program: Program) -> None:
        network, wires = program.network, program.wires
        low, high = network.input.format.min, network.input.format.max
        dtype = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
        self.program, self.behind = program, steps_behind(network)
        self.rows = rows = window_rows(sum(each.stride for each in wires.values()), self.behind)
        self.codes = np.zeros((rows, network.input.size), dtype)
        self.results = allocate_results(program, np.array([rows]), rows, Spare())
        self.worker = Worker(program, rows, dtype)
        self.worker.place(self.codes[None], 0, self.results)
        states = [each for held in self.results.states.values() for each in held.values()]
        buffers = [
            self.worker.out[name].view(np.uint8)[: rows * each.stride].reshape(rows, each.stride)
            for name, each in wires.items()
        ]
        self.windows = [self.codes, *buffers, *(each[0] for each in [*self.results.outputs.values(), *states])]
        self.pointers = self._pointers()
        self.lengths = np.array([UNKNOWN_STEPS], np.int64)
        self.tables = {**self.worker.tables, "resets": NO_ROWS, "moves": NO_ROWS}
        self.fields = self.worker.fields(self.lengths, self.tables)
        self.address, self.resets = self.fields.ctypes.data, self.worker.tables["resets"].ctypes.data
        self.origin = self.steps = 0
        self.reset()

    def _pointers(self) -> list[tuple[IntArray, int, int]]:
        """Return the arguments of kernels that point to a window, each with the bytes of its rows."""
        strides = {window.ctypes.data: window.strides[0] for window in self.windows}
        return [
            (args, index, strides[address])
            for args in self.worker.args.values()
            for index, address in enumerate(args.tolist())
            if address in strides
        ]

    def reset(self) -> None:
        """Begin the next sample, at rest: the driver's next call sets the registers."""
        self.fields[RESETS] = self.resets
        self.results.counted[:] = 0
        if self.origin:
            self._point_to(0)
        self.steps, self.lengths[0] = 0, UNKNOWN_STEPS

    def push(self, codes: npt.NDArray[np.integer]) -> int:
        """Run the first steps of a block (steps, channels), as many as the windows have room for; return how many."""
        if self.steps - self.origin == self.rows:
            self._move()
        first = self.steps - self.origin
        steps = min(len(codes), self.rows - first)
        self.codes[first : first + steps] = codes[:steps]
        self._run(steps)
        return steps

    def flush(self) -> None:
        """End the sample: run the steps after its last one until all outputs are known."""
        self.lengths[0] = self.steps
        self._run(self.program.network.timing.drain_steps)

    def _run(self, steps: int) -> None:
        first = self.fields[FIRST] = self.steps
        self.steps += steps
        self.fields[LAST] = self.steps
        self.worker.driver(self.address)
        if first == 0:
            self.fields[RESETS] = NO_ROWS.ctypes.data

    def _move(self) -> None:
        origin = max(0, self.steps - self.behind)
        for window in self.windows:
            kept = window[origin - self.origin :]
            window[: len(kept)] = kept
        self._point_to(origin)

    def _point_to(self, origin: int) -> None:
        """Let row 0 of every window be that of step `origin`."""
        for args, index, stride in self.pointers:
            args[index] += (self.origin - origin) * stride
        self.origin = origin
