"""Latch that keeps a synaptic sum over a window, for senders that send once per window."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray

from nmdeploy.lava.periodic import ENDLESS_STEPS, check_reset, own_step


class Latch(AbstractProcess):
    """Register that keeps the input of each window's first step.

    It sends the kept value in every step of the window, within the same time step:
    ``held <- a_in if t % window == 0;  a_out = held``. Here t is the receiver's own step, and `held` starts as 0.

    Parameters
    ----------
    shape : tuple of int
        Shape of the port ``a_in`` and of the port ``a_out``.
    window : int
        Steps of a window. Each sample starts a new window.
    reset_interval, reset_offset : int
        Own step 0 is the step with ``time_step % reset_interval == reset_offset``.
    name : str, optional
        Name of the Process.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        window: int,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_reset(reset_interval, reset_offset)
        super().__init__(
            shape=shape, window=window, reset_interval=reset_interval, reset_offset=reset_offset, name=name, **kwargs
        )
        self.a_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)
        self.held = Var(shape=shape, init=0)


@implements(proc=Latch, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyLatchModel(PyLoihiProcessModel):
    """Integer ProcessModel of `Latch`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    held: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)

    def run_spk(self) -> None:
        """Run one step: receive, keep or drop, send."""
        a = self.a_in.recv()
        if own_step(self.time_step, self.proc_params) % self.proc_params["window"] == 0:
            self.held[:] = a
        self.a_out.send(self.held)
