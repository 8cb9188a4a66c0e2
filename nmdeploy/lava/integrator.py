"""Non-spiking readout, which sends its register in every step."""
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

KIND = "integrator"


class Integrator(AbstractProcess):
    """Leaky integrators without a threshold (docs/arithmetic.md, `integrator`).

    ::

        v <- sat(rz(v * (4096 - dv), 12) + a + bias, state_bits);   output v

    Parameters
    ----------
    shape : tuple of int
        Shape (neurons,).
    dv : int or array of shape (neurons,)
        Decay, 0 (none) to 4096.
    bias : int or array of shape (neurons,)
        Bias added in every step.
    state_bits : int
        Width of v, at most 32.
    reset_interval, reset_offset : int
        v is zeroed before each step with ``time_step % reset_interval == reset_offset``.
    trace : Trace, optional
        Recording of ``v``, (neurons,).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Configuration of Lava's logging.

    Raises
    ------
    ValueError
        `state_bits` is not 2 to 32, the reset interval is below 1, or the reset offset is negative.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        dv: Any = 0,
        bias: Any = 0,
        state_bits: int = 24,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        check_state_bits(state_bits)
        check_reset(reset_interval, reset_offset)
        super().__init__(
            shape=shape,
            state_bits=state_bits,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            trace=trace,
            name=name,
            log_config=log_config,
        )
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.v = Var(shape=shape, init=0)
        self.dv = Var(shape=shape, init=dv)
        self.bias = Var(shape=shape, init=bias)


@implements(proc=Integrator, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyIntegratorModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `Integrator`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)
    v: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    dv: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)

    def run_spk(self) -> None:
        """Run one step: decay, add, clip, send."""
        a = self.a_in.recv().astype(np.int64)
        if own_step(self.time_step, self.proc_params) == 0:
            self.v[:] = 0
        self.v[:] = sat(
            rz(self.v.astype(np.int64) * (4096 - self.dv), 12) + a + self.bias, self.proc_params["state_bits"]
        )
        self.s_out.send(self.v)
        if self.proc_params["trace"] is not None:
            self.proc_params["trace"].write(self.time_step, v=self.v)


def describe(node: dict[str, Any]) -> Population:
    """Return the population of an `integrator` node."""
    dv, bias = np.array(node["dv"], np.int32), np.array(node["bias"], np.int32)
    bits = node["state_bits"]
    return Population(
        inputs=len(dv),
        outputs=len(dv),
        make=lambda place: Integrator(shape=dv.shape, dv=dv, bias=bias, state_bits=bits, **place.common),
        spikes=("v",),
        binary=False,
    )
