"""Process and ProcessModel of spiking neurons made of dynamics and mechanisms, which StateSpace and others extend."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess, LogConfig
from lava.magma.core.process.variable import Var
from numpy.typing import NDArray

from nmdeploy.lava.dynamics import FACTOR_BITS, Dynamics
from nmdeploy.lava.mechanisms import Mechanisms
from nmdeploy.lava.periodic import ENDLESS_STEPS, check_reset, own_step
from nmdeploy.lava.rounding import Booleans, Integers, rz, sat
from nmdeploy.lava.spiking import fire
from nmdeploy.lava.trace import Trace


class SpikingProcess(AbstractProcess):
    """Neurons with dynamics, an optional soma with adaptation, a threshold, a reset and a refractory period.

    Ports: `a_in` (neurons * inputs,) and `s_out` (neurons * outputs,), neuron by neuron. Vars: the registers of the
    dynamics, (neurons, states); `y`, `v` and `w`, (neurons, outputs); `refractory`, (neurons,).
    """

    def __init__(
        self,
        *,
        dynamics: Dynamics,
        mechanisms: Mechanisms,
        reset_interval: int = ENDLESS_STEPS,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        check_reset(reset_interval, reset_offset)
        mechanisms.check_fit(dynamics)
        super().__init__(
            dynamics=dynamics,
            mechanisms=mechanisms,
            reset_interval=reset_interval,
            reset_offset=reset_offset,
            trace=trace,
            name=name,
            log_config=log_config,
        )
        self.a_in = InPort(shape=(dynamics.neurons * dynamics.inputs,))
        self.s_out = OutPort(shape=(dynamics.neurons * dynamics.outputs,))
        for register in dynamics.registers:
            setattr(self, register, Var(shape=(dynamics.neurons, dynamics.states), init=0))
        self.y = Var(shape=(dynamics.neurons, dynamics.outputs), init=0)
        self.v = Var(shape=(dynamics.neurons, dynamics.outputs), init=0)
        self.w = Var(shape=(dynamics.neurons, dynamics.outputs), init=0)
        self.refractory = Var(shape=(dynamics.neurons,), init=0)


class PySpikingModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `SpikingProcess`; a subclass declares the registers of its dynamics."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    y: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    v: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    w: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    refractory: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.dynamics: Dynamics = proc_params["dynamics"]
        self.mechanisms: Mechanisms = proc_params["mechanisms"]

    def states(self) -> tuple[Integers, ...]:
        """Return the registers of the dynamics in 64 bits."""
        return tuple(getattr(self, name).astype(np.int64) for name in self.dynamics.registers)

    def crossed(self, before: tuple[Integers, ...]) -> Booleans:
        """Return a mask that is true where the imaginary part rose from negative in `before` to 0 or more."""
        return (before[-1] < 0) & (self.states()[-1] >= 0)

    def remember(self, a: Integers, held: Booleans) -> None:
        """Update dynamics and output."""
        before = self.states()
        for name, old, new in zip(self.dynamics.registers, before, self.dynamics.update(before, a), strict=True):
            getattr(self, name)[:] = np.where(held, old, new)
        self.y[:] = self.dynamics.output(self.states(), a)

    def membrane(self, held: Booleans) -> Integers:
        """Update the soma, if there is one, and return the membrane that the threshold is compared with."""
        m, y = self.mechanisms, self.y.astype(np.int64)
        if not m.soma:
            return y
        v, w = self.v.astype(np.int64), self.w.astype(np.int64)
        fed = np.maximum(y, 0) if m.rectify else y
        self.v[:] = np.where(held, v, sat(rz(m.leak * v, FACTOR_BITS) + fed, self.dynamics.state_bits))
        if m.adaptation:
            self.w[:] = np.where(held, w, rz(m.adaptation_leak * w, FACTOR_BITS))
        return self.v.astype(np.int64) - self.w

    def count(self, raised: Integers, spikes: Integers) -> None:
        """Restart the counter of silent steps, or lower it by one."""
        m = self.mechanisms
        cause = raised if m.refractory_mode == "mask-raw" else spikes
        left = np.maximum(self.refractory - 1, 0)
        self.refractory[:] = np.where(np.any(cause != 0, axis=-1), m.refractory_steps, left)

    def reset(self, spikes: Integers, held: Booleans, step: int) -> None:
        """Apply condition and action to the soma, or else to the dynamics; then increase the adaptation."""
        m, bits = self.mechanisms, self.dynamics.state_bits
        names = ("v",) if m.soma else self.dynamics.registers
        old = tuple(getattr(self, name).astype(np.int64) for name in names)
        acts, feedback = m.resets(old, spikes, step) & ~held, m.feedback(spikes)
        if m.reset_action != "none":
            new = (
                (m.soma_reset(old[0], feedback, bits),)
                if m.soma
                else self.dynamics.reset(m.reset_action, old, feedback)
            )
            for name, before, after in zip(names, old, new, strict=True):
                getattr(self, name)[:] = np.where(acts, after, before)
        if m.adaptation:
            self.w[:] = sat(self.w + m.adaptation_jump * spikes, bits)

    def run_spk(self) -> None:
        """Run one step: dynamics, membrane, spikes, counter, reset."""
        a = (
            self.a_in.recv().astype(np.int64).reshape(self.dynamics.neurons, self.dynamics.inputs)
            + self.dynamics.input_bias
        )
        step = own_step(self.time_step, self.proc_params)
        if step == 0:
            for name in (*self.dynamics.registers, "y", "v", "w", "refractory"):
                getattr(self, name)[:] = 0
        silent = (self.refractory > 0)[:, np.newaxis]
        held = silent & (self.mechanisms.refractory_mode == "hold")
        before = self.states()
        self.remember(a, held)
        raw = fire(self.mechanisms, self.membrane(held), step, self.crossed(before))
        spikes = np.where(silent, 0, raw)
        self.count(raw, spikes)
        self.reset(spikes, held, step)
        self.s_out.send(spikes.ravel().astype(np.int32))
        self.record(spikes)

    def record(self, spikes: Integers) -> None:
        """Write the step's arrays; with one output per neuron they have no second axis."""
        if self.proc_params["trace"] is None:
            return
        single = self.dynamics.outputs == 1
        arrays = {name: getattr(self, name) for name in self.dynamics.registers}
        outputs = {name: getattr(self, name) for name in ("y", "v", "w")}
        arrays |= {name: array[:, 0] if single else array for name, array in outputs.items()}
        self.proc_params["trace"].write(self.time_step, spikes=spikes.ravel(), **arrays)
