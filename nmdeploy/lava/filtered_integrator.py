"""Non-spiking integrators with a synaptic filter, which send their membrane in every step."""
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
from numpy.typing import NDArray

from nmdeploy.lava.periodic import ENDLESS_STEPS, check_reset, check_state_bits, own_step
from nmdeploy.lava.population import Population
from nmdeploy.lava.rounding import rz, sat
from nmdeploy.lava.trace import Trace

KIND = "filtered_integrator"


class FilteredIntegrator(AbstractProcess):
    """Integrators without a threshold, with a current and a membrane (docs/arithmetic.md, `filtered_integrator`).

    ::

        u <- sat(rz(u * (4096 - du), 12) + (a << in_shift) + input_bias, state_bits)
        v <- sat(rz(v * (4096 - dv), 12) + u + bias, state_bits)
        output sat(rz(v * out_factor, out_shift), out_bits)

    Parameters
    ----------
    shape : tuple of int
        Shape (neurons,).
    du, dv : int or array of shape (neurons,)
        Decays of u and v, 0 (none) to 4096.
    in_shift : int
        Bits by which u is finer than the input.
    input_bias, bias : int or array of shape (neurons,)
        Constants added to u and to v in every step.
    out_factor : int or array of shape (neurons,)
        Factor from v to the output.
    out_shift, out_bits : int
        Bits that this product drops, and the output's width, at most 32.
    state_bits : int
        Width of u and v, at most 32.
    reset_interval, reset_offset : int
        u and v are zeroed before each step with ``time_step % reset_interval == reset_offset``.
    trace : Trace, optional
        Recording of ``out``, ``u`` and ``v``, (neurons,).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Configuration of Lava's logging.

    Raises
    ------
    ValueError
        `state_bits` or `out_bits` is not 2 to 32, `in_shift` is negative, the reset interval is below 1, or the
        reset offset is negative.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        du: Any = 4096,
        dv: Any = 0,
        in_shift: int = 0,
        input_bias: Any = 0,
        bias: Any = 0,
        out_factor: Any = 1,
        out_shift: int = 0,
        out_bits: int = 24,
        state_bits: int = 24,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        check_state_bits(state_bits)
        if not 2 <= out_bits <= 32 or in_shift < 0:
            raise ValueError(f"out_bits {out_bits}, in_shift {in_shift}; they must be 2 to 32, and 0 or more")
        check_reset(reset_interval, reset_offset)
        super().__init__(
            shape=shape,
            in_shift=in_shift,
            out_shift=out_shift,
            out_bits=out_bits,
            state_bits=state_bits,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            trace=trace,
            name=name,
            log_config=log_config,
        )
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.out = Var(shape=shape, init=0)
        self.du = Var(shape=shape, init=du)
        self.dv = Var(shape=shape, init=dv)
        self.out_factor = Var(shape=shape, init=out_factor)
        self.input_bias = Var(shape=shape, init=input_bias)
        self.bias = Var(shape=shape, init=bias)


@implements(proc=FilteredIntegrator, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyFilteredIntegratorModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `FilteredIntegrator`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)
    u: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    v: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    out: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    du: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    dv: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    out_factor: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    input_bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)

    def run_spk(self) -> None:
        """Run one step: current, membrane, output, send."""
        params = self.proc_params
        a = self.a_in.recv().astype(np.int64)
        if own_step(self.time_step, params) == 0:
            self.u[:], self.v[:] = 0, 0
        bits = params["state_bits"]
        arriving = (a << params["in_shift"]) + self.input_bias
        u = sat(rz(self.u.astype(np.int64) * (4096 - self.du), 12) + arriving, bits)
        v = sat(rz(self.v.astype(np.int64) * (4096 - self.dv), 12) + u + self.bias, bits)
        self.u[:], self.v[:] = u, v
        self.out[:] = sat(rz(v * self.out_factor, params["out_shift"]), params["out_bits"])
        self.s_out.send(self.out)
        if params["trace"] is not None:
            params["trace"].write(self.time_step, out=self.out, u=self.u, v=self.v)


def describe(node: dict[str, Any]) -> Population:
    """Return the population of a `filtered_integrator` node."""
    codes: dict[str, Any] = {
        key: np.array(node[key], np.int32) for key in ("du", "dv", "input_bias", "bias", "out_factor")
    }
    numbers: dict[str, Any] = {key: int(node[key]) for key in ("in_shift", "out_shift", "out_bits", "state_bits")}
    shape = codes["du"].shape
    return Population(
        inputs=shape[0],
        outputs=shape[0],
        make=lambda place: FilteredIntegrator(shape=shape, **codes, **numbers, **place.common),
        spikes=("out",),
        states=("u", "v"),
        binary=False,
    )
