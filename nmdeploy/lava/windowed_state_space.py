"""State-space neurons that decide once per window of r steps."""
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

from nmdeploy.lava.diagonal_dynamics import DiagonalDynamics
from nmdeploy.lava.periodic import ENDLESS_STEPS, check_reset, own_step
from nmdeploy.lava.population import Placement, Population, from_node
from nmdeploy.lava.rounding import Integers, integers, rz, sat
from nmdeploy.lava.trace import Trace

KIND = "windowed_state_space"
SUM_BITS = 32
REGISTERS = ("re", "im", "y", "u", "decided", "latch")


class WindowedStateSpace(AbstractProcess):
    """Complex diagonal dynamics whose output is weighted, summed and compared over windows of r steps.

    ::

        u       <- sat((0 if t % r == 0 else u) + rz(kernel[t % r] * y, frac_k), 32)
        decided <- u > vth    where t % r == r - 1 or t == steps - 1;    latch <- decided    where t % r == r - 1
        output latch

    The source is docs/arithmetic.md, `windowed_state_space`. The output of step t is sent in own step ``t + r - 1``.
    From own step `steps` on, only `latch` changes. Ports: `a_in` and `s_out`, (neurons,). Vars: `re` and `im`,
    (neurons, states), `y`, `u`, `decided` and `latch`, (neurons,).

    Parameters
    ----------
    dynamics : DiagonalDynamics
        Dynamics with one input and one output per neuron. Its reset codes are not used.
    kernel : array of int, shape (neurons, window)
        Codes of the weights with `frac_k` fraction bits.
    frac_k : int
        Fraction bits of `kernel`.
    vth : array of int, shape (neurons,)
        Threshold in units of u.
    steps : int
        Steps of a sample.
    send_once : bool
        True if the output is 0 in all steps of a window except the first.
    send_every : int
        Steps between two messages: 1, or the steps of a window, in which the decision does not change.
    reset_interval, reset_offset : int
        All registers are zeroed before each step with ``time_step % reset_interval == reset_offset``.
    trace : Trace, optional
        Recording of ``spikes``, ``y`` and ``u``, (neurons,), and ``re`` and ``im``, (neurons, states).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Configuration of Lava's logging.

    Raises
    ------
    ValueError
        The dynamics has several inputs or outputs, a shape is wrong, or a sample exceeds the interval.
    """

    def __init__(
        self,
        *,
        dynamics: DiagonalDynamics,
        kernel: ArrayLike,
        frac_k: int,
        vth: ArrayLike,
        steps: int,
        send_once: bool = False,
        send_every: int = 1,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        size, window = dynamics.neurons, np.shape(kernel)[-1]
        check_reset(reset_interval, reset_offset)
        if dynamics.inputs != 1 or dynamics.outputs != 1:
            raise ValueError(
                f"{dynamics.inputs} inputs, {dynamics.outputs} outputs per neuron; with windows it has one each"
            )
        if not 1 <= steps <= reset_interval - (window - 1):
            raise ValueError(
                f"{steps} steps and an output latency of {window - 1}; the interval holds {reset_interval}"
            )
        super().__init__(
            dynamics=dynamics,
            kernel=integers("kernel", kernel, (size, window)),
            frac_k=frac_k,
            vth=integers("vth", vth, (size,)),
            steps=steps,
            send_once=send_once,
            send_every=send_every,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            trace=trace,
            name=name,
            log_config=log_config,
        )
        self.a_in = InPort(shape=(size,))
        self.s_out = OutPort(shape=(size,))
        shapes = {"re": (size, dynamics.states), "im": (size, dynamics.states)}
        for register in REGISTERS:
            setattr(self, register, Var(shape=shapes.get(register, (size,)), init=0))


@implements(proc=WindowedStateSpace, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyWindowedStateSpaceModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `WindowedStateSpace`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    y: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    u: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    decided: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    latch: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)

    def integrate(self, a: Integers, step: int) -> None:
        """Update the dynamics, the output and the window's sum; decide at the window's end."""
        params, place = self.proc_params, step % self.proc_params["kernel"].shape[1]
        dynamics: DiagonalDynamics = params["dynamics"]
        self.re[:], self.im[:] = dynamics.update((self.re.astype(np.int64), self.im.astype(np.int64)), a)
        y = dynamics.output((self.re.astype(np.int64), self.im.astype(np.int64)), a)[:, 0]
        self.y[:] = y
        weighted = rz(params["kernel"][:, place] * y, params["frac_k"])
        self.u[:] = sat(weighted if place == 0 else self.u + weighted, SUM_BITS)
        if place == params["kernel"].shape[1] - 1 or step == params["steps"] - 1:
            self.decided[:] = self.u > params["vth"]

    def run_spk(self) -> None:
        """Run one step: integrate inside the sample, then send the last window's decision."""
        a = self.a_in.recv().astype(np.int64)[:, np.newaxis]
        params, window = self.proc_params, self.proc_params["kernel"].shape[1]
        step = own_step(self.time_step, params)
        if step == 0:
            for name in REGISTERS:
                getattr(self, name)[:] = 0
        if step < params["steps"]:
            self.integrate(a, step)
        since = (step + 1) % window
        if since == 0:
            self.latch[:] = self.decided
        silence = np.zeros_like(self.latch)
        spikes = silence if params["send_once"] and since else self.latch
        self.s_out.send(silence if since % params["send_every"] else spikes)
        if params["trace"] is not None:
            params["trace"].write(self.time_step, spikes=spikes, re=self.re, im=self.im, y=self.y, u=self.u)


def describe(node: dict[str, Any]) -> Population:
    """Return the population of a `windowed_state_space` node.

    Raises
    ------
    ValueError
        The kernel does not have one weight per step of the window.
    """
    dynamics = from_node(DiagonalDynamics, node["dynamics"], without=("r_re", "r_im", "m_re", "m_im", "input_bias"))
    kernel, window = np.array(node["kernel"], np.int64), int(node["window"])
    if kernel.ndim != 2 or kernel.shape[1] != window:
        raise ValueError(f"kernel has shape {list(kernel.shape)}; its window has {window} steps")
    parameters = {"frac_k": int(node["frac_k"]), "vth": node["vth"], "send_once": bool(node["send_once"])}

    def make(place: Placement) -> WindowedStateSpace:
        own = {"steps": place.steps, "send_every": place.send_every, **place.common}
        return WindowedStateSpace(dynamics=dynamics, kernel=kernel, **parameters, **own)

    return Population(
        inputs=dynamics.neurons,
        outputs=dynamics.neurons,
        make=make,
        spikes=("spikes",),
        states=("re", "im", "y", "u"),
        output_latency=window - 1,
        window=window,
        send_once=parameters["send_once"],
    )
