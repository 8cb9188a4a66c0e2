"""Loihi's leaky integrate-and-fire neuron with a refractory period and parameters per neuron."""
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

from nmdeploy.lava.periodic import ENDLESS_STEPS, check_reset, own_step
from nmdeploy.lava.rounding import rz, sat, wrap24
from nmdeploy.lava.trace import Trace


class RefractoryLIF(AbstractProcess):
    """Leaky integrate-and-fire neurons with a refractory period (docs/arithmetic.md, rule `loihi`).

    ::

        u  <- wrap24(rz(u * (4095 - du), 12) + (a << 6))
        v* <- sat(rz(v * (4096 - dv), 12) + u + (bias_mant << bias_exp), 24)
        v  <- v if held else v*
        s  =  not held and v > (vth << 6);   v <- 0 if s
        c  <- refractory_steps if s else max(c - 1, 0);   held = c > 0 when the step begins

    Intel's fixed-point LIF has no refractory period, and one du, dv and vth for all neurons. Without these additions
    both agree.

    Parameters
    ----------
    shape : tuple of int
        Shape (neurons,).
    du, dv : int or array of shape (neurons,)
        Decays, 0 to 4095.
    vth : int or array of shape (neurons,)
        Threshold, 0 to 131071.
    bias_mant, bias_exp : int or array of shape (neurons,)
        Bias, -4096 to 4095, and its exponent, 0 to 7.
    refractory_steps : int
        Silent steps after a spike.
    reset_interval, reset_offset : int
        All registers are zeroed before each step with ``time_step % reset_interval == reset_offset``.
    trace : Trace, optional
        Recording of ``spikes``, ``u`` and ``v``, each (neurons,).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Configuration of Lava's logging.

    Raises
    ------
    ValueError
        The reset interval is below 1, or the reset offset is negative.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        du: Any = 0,
        dv: Any = 0,
        vth: Any = 10,
        bias_mant: Any = 0,
        bias_exp: Any = 0,
        refractory_steps: int = 0,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        check_reset(reset_interval, reset_offset)
        super().__init__(
            shape=shape,
            refractory_steps=refractory_steps,
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
        self.refractory = Var(shape=shape, init=0)
        self.du = Var(shape=shape, init=du)
        self.dv = Var(shape=shape, init=dv)
        self.vth = Var(shape=shape, init=vth)
        self.bias_mant = Var(shape=shape, init=bias_mant)
        self.bias_exp = Var(shape=shape, init=bias_exp)


@implements(proc=RefractoryLIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyRefractoryLifModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `RefractoryLIF`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    u: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    v: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=24)
    refractory: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    du: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=12)
    dv: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=12)
    vth: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=17)
    bias_mant: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=13)
    bias_exp: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=3)

    def run_spk(self) -> None:
        """Run one step: current, voltage, threshold, reset, counter."""
        a = self.a_in.recv().astype(np.int64)
        if own_step(self.time_step, self.proc_params) == 0:
            for register in (self.u, self.v, self.refractory):
                register[:] = 0
        held = self.refractory > 0
        self.u[:] = wrap24(rz(self.u.astype(np.int64) * (4095 - self.du), 12) + (a << 6))
        bias = self.bias_mant.astype(np.int64) << self.bias_exp
        v = sat(rz(self.v.astype(np.int64) * (4096 - self.dv), 12) + self.u + bias, 24)
        v = np.where(held, self.v, v)
        spikes = ~held & (v > self.vth.astype(np.int64) << 6)
        self.v[:] = np.where(spikes, 0, v)
        self.refractory[:] = np.where(spikes, self.proc_params["refractory_steps"], np.maximum(self.refractory - 1, 0))
        self.s_out.send(spikes)
        if self.proc_params["trace"] is not None:
            self.proc_params["trace"].write(self.time_step, spikes=spikes, u=self.u, v=self.v)
