"""Gate that keeps the spikes of one sample out of the next one."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class SampleGate(AbstractProcess):
    """Gate that forwards its input in the same time step while it is open, and sends zeros while it is closed.

    ``s_out = s_in if (time_step - start) % interval < interval - delay else 0``

    A delayed edge would carry a sample's last spikes into the next sample. It would also carry into the first sample
    what the sender emits shortly before it. The gate drops both.

    Parameters
    ----------
    shape : tuple of int
        Shape of the port ``s_in`` and of the port ``s_out``.
    interval : int
        Steps of a sample.
    start : int
        Lava time step of the sender's first real step.
    delay : int
        Delay of the edge in steps, beyond alignment.
    name : str, optional
        Name of the Process.
    """

    def __init__(
        self, *, shape: tuple[int, ...], interval: int, start: int, delay: int, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(shape=shape, interval=interval, start=start, delay=delay, name=name, **kwargs)
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)


@implements(proc=SampleGate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PySampleGateModel(PyLoihiProcessModel):
    """Integer ProcessModel of `SampleGate`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        """Run one step: receive, then forward or send zeros."""
        s = self.s_in.recv()
        elapsed = self.time_step - self.proc_params["start"]
        interval = self.proc_params["interval"]
        is_open = elapsed % interval < interval - self.proc_params["delay"]
        self.s_out.send(s if is_open else np.zeros_like(s))
