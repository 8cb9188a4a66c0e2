"""Gated linear unit, which multiplies a value by the sigmoid of a gate, read from a table."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess, LogConfig
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import ArrayLike, NDArray

from nmdeploy.lava.periodic import ENDLESS_STEPS, check_reset, own_step
from nmdeploy.lava.population import Population
from nmdeploy.lava.rounding import Integers, integers, rz, sat, shift
from nmdeploy.lava.trace import Trace

KIND = "gated_linear_unit"
TABLE_ENTRIES, ENTRY_BITS, GATE_BITS = 65, 10, 12
HALF = 32768


class GatedLinearUnit(AbstractProcess):
    """Gated linear units ``g = a[0] * sigmoid(a[1])``, without a state (docs/arithmetic.md, `gated_linear_unit`).

    ::

        z = min(max(shift(a[1], 12 - frac_in), -32768), 32767) + 32768;   i, f = z >> 10, z & 1023
        gate = table[i] + rz((table[i + 1] - table[i]) * f, 10)
        g = sat(rz(a[0] * gate, gate_shift), output_bits);   output g

    Ports: `a_in` (2 * neurons,), value and gate of each neuron in turn, and `s_out` (neurons,). Var: `g`.

    Parameters
    ----------
    neurons : int
        Number of neurons, H.
    table : array of int, shape (65,)
        Sigmoid at -8, -7.75, ..., 8, with 15 fraction bits.
    gate_shift, output_bits : int
        Scale and width of the output.
    frac_in : int
        Fraction bits of both inputs.
    send_once : bool
        True if the output is 0 in all steps of a window except the first.
    window : int
        Steps of these windows.
    send_every : int
        Steps between two messages. The output itself does not change in between.
    reset_interval, reset_offset : int
        Step 0 of a sample is the step with ``time_step % reset_interval == reset_offset``.
    trace : Trace, optional
        Recording of ``g``, (neurons,).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Configuration of Lava's logging.

    Raises
    ------
    ValueError
        The table does not have 65 entries, a width exceeds its limits, or the reset interval is below 1.
    """

    def __init__(
        self,
        *,
        neurons: int,
        table: ArrayLike,
        gate_shift: int,
        output_bits: int,
        frac_in: int,
        send_once: bool = False,
        window: int = 1,
        send_every: int = 1,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        check_reset(reset_interval, reset_offset)
        if not 2 <= output_bits <= 32 or gate_shift < 0:
            raise ValueError(f"output_bits {output_bits}, gate_shift {gate_shift}; they must be 2 to 32, and 0 or more")
        super().__init__(
            table=integers("table", np.asarray(table), (TABLE_ENTRIES,)),
            gate_shift=gate_shift,
            output_bits=output_bits,
            frac_in=frac_in,
            send_once=send_once,
            window=window,
            send_every=send_every,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            trace=trace,
            name=name,
            log_config=log_config,
        )
        self.a_in = InPort(shape=(2 * neurons,))
        self.s_out = OutPort(shape=(neurons,))
        self.g = Var(shape=(neurons,), init=0)


@implements(proc=GatedLinearUnit, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyGatedLinearUnitModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `GatedLinearUnit`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)
    g: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)

    def gate(self, a: Integers) -> Integers:
        """Return the sigmoid of `a` with 15 fraction bits, interpolated between two table entries."""
        table = self.proc_params["table"]
        z = np.clip(shift(a, GATE_BITS - self.proc_params["frac_in"]), -HALF, HALF - 1) + HALF
        entry, rest = z >> ENTRY_BITS, z & (2**ENTRY_BITS - 1)
        return np.asarray(table[entry] + rz((table[entry + 1] - table[entry]) * rest, ENTRY_BITS))

    def run_spk(self) -> None:
        """Run one step: gate, product, send."""
        params = self.proc_params
        value, gate = self.a_in.recv().astype(np.int64).reshape(-1, 2).T
        step = own_step(self.time_step, params)
        g = sat(rz(value * self.gate(gate), params["gate_shift"]), params["output_bits"])
        self.g[:] = 0 if params["send_once"] and step % params["window"] else g
        self.s_out.send(np.zeros_like(self.g) if step % params["send_every"] else self.g)
        if params["trace"] is not None:
            params["trace"].write(self.time_step, g=self.g)


def describe(node: dict[str, Any]) -> Population:
    """Return the population of a `gated_linear_unit` node."""
    neurons = int(node["neurons"])
    keys = ("table", "gate_shift", "output_bits", "frac_in", "send_once", "window")
    parameters = {key: node[key] for key in keys}
    return Population(
        inputs=2 * neurons,
        outputs=neurons,
        make=lambda place: GatedLinearUnit(neurons=neurons, **parameters, send_every=place.send_every, **place.common),
        spikes=("g",),
        binary=False,
        send_once=bool(node["send_once"]),
        memoryless=True,
    )
