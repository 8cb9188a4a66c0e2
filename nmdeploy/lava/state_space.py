"""StateSpace: spiking neurons with N complex diagonal states, reset and refractory period."""
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

from nmdeploy.lava.periodic import NEVER, check_reset, check_state_bits, resets_now
from nmdeploy.lava.rounding import Integers, rz, sat
from nmdeploy.lava.trace import Trace

CHOICES = {
    "rounding": ("per-product", "per-sum"),
    "reset": ("none", "hard", "soft"),
    "refractory_mode": ("hold", "mask"),
}


class StateSpace(AbstractProcess):
    """Spiking state-space neurons with a complex diagonal A (docs/arithmetic.md, `state_space`).

    ::

        x <- A x + B a;   y = Re(C x) + D a + bias;   s = y > vth (unless refractory);   x <- reset(x) where s

    in integers, with x = re + i im clipped to `state_bits` and every product divided by ``2**frac``, rounded towards
    zero: one by one (`per-product`) or once for each sum (`per-sum`). With one state, `per-product`,
    ``b_re = 2**(state_exp + frac_b)`` and ``b_im = 0``, re and im equal those of Intel's fixed-point `RF`.

    Parameters
    ----------
    a_re, a_im, b_re, b_im, c_re, c_im : array of int, shape (neurons, states)
        Coefficient codes. `c_im` enters with a minus sign; a factor 2 of conjugate pairs is contained in both.
    d, bias, vth : array of int, shape (neurons,)
        Feedthrough; bias and threshold in units of y.
    frac_a, frac_b, frac_c, frac_d : int
        Fraction bits of the codes.
    rounding : {'per-product', 'per-sum'}
        Where to round; `per-sum` needs ``frac_b <= frac_a`` and ``frac_d <= frac_c``.
    state_bits : int
        Width of re and im, at most 32.
    reset : {'none', 'hard', 'soft'}
        At a spike: nothing, set to r, or subtract r.
    r_re, r_im : array of int, shape (neurons, states), optional
        Reset codes in units of the state; 0 if left out.
    refractory_steps : int
        Silent steps after a spike.
    refractory_mode : {'hold', 'mask'}
        While refractory: states stand still, or run on with their output suppressed.
    reset_interval, reset_offset : int
        All registers are zeroed before the step in which ``time_step % reset_interval == reset_offset``.
    trace : Trace, optional
        Records ``spikes`` and ``y``, (neurons,), and ``re`` and ``im``, (neurons, states).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Lava's logging.

    Raises
    ------
    ValueError
        A mode is unknown, state_bits is over 32, or `per-sum` meets fractions that it cannot align.
    """

    def __init__(
        self,
        *,
        a_re: ArrayLike,
        a_im: ArrayLike,
        b_re: ArrayLike,
        b_im: ArrayLike,
        c_re: ArrayLike,
        c_im: ArrayLike,
        d: ArrayLike,
        bias: ArrayLike,
        vth: ArrayLike,
        frac_a: int,
        frac_b: int,
        frac_c: int,
        frac_d: int,
        rounding: str = "per-product",
        state_bits: int = 24,
        reset: str = "none",
        r_re: ArrayLike | None = None,
        r_im: ArrayLike | None = None,
        refractory_steps: int = 0,
        refractory_mode: str = "hold",
        reset_interval: int = NEVER,
        reset_offset: int = 1,
        trace: Trace | None = None,
        name: str | None = None,
        log_config: LogConfig | None = None,
    ) -> None:
        params: dict[str, Any] = {
            "frac_a": frac_a,
            "frac_b": frac_b,
            "frac_c": frac_c,
            "frac_d": frac_d,
            "rounding": rounding,
            "state_bits": state_bits,
            "reset": reset,
            "refractory_steps": refractory_steps,
            "refractory_mode": refractory_mode,
            "reset_interval": reset_interval,
            "reset_offset": reset_offset,
        }
        _check(name, params)
        super().__init__(**params, trace=trace, name=name, log_config=log_config)
        matrices = {"a_re": a_re, "a_im": a_im, "b_re": b_re, "b_im": b_im, "c_re": c_re, "c_im": c_im}
        shape = np.shape(a_re)
        resets = {"r_re": r_re, "r_im": r_im}
        matrices.update({key: np.zeros(shape, np.int32) if r is None else r for key, r in resets.items()})
        for key, value in matrices.items():
            setattr(self, key, Var(shape=shape, init=_integers(name, key, value, shape)))
        for key, value in {"d": d, "bias": bias, "vth": vth}.items():
            setattr(self, key, Var(shape=shape[:1], init=_integers(name, key, value, shape[:1])))
        self.a_in = InPort(shape=shape[:1])
        self.s_out = OutPort(shape=shape[:1])
        self.re = Var(shape=shape, init=0)
        self.im = Var(shape=shape, init=0)
        self.y = Var(shape=shape[:1], init=0)
        self.refractory = Var(shape=shape[:1], init=0)


def _check(name: str | None, params: dict[str, Any]) -> None:
    check_state_bits(name, params["state_bits"])
    check_reset(params["reset_interval"], params["reset_offset"])
    for key, allowed in CHOICES.items():
        if params[key] not in allowed:
            raise ValueError(f"{name or 'StateSpace'}: {key} is {params[key]!r}; known are {', '.join(allowed)}")
    aligned = params["frac_b"] <= params["frac_a"] and params["frac_d"] <= params["frac_c"]
    if params["rounding"] == "per-sum" and not aligned:
        raise ValueError(f"{name or 'StateSpace'}: per-sum needs frac_b <= frac_a and frac_d <= frac_c")


def _integers(name: str | None, key: str, value: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int32]:
    array = np.asarray(value)
    if array.shape != shape or array.dtype.kind not in "iu" or np.any(np.abs(array) >= 2**31):
        found = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"{name or 'StateSpace'}: {key} is {found}; it must be 32-bit integers {list(shape)}")
    return array.astype(np.int32)


@implements(proc=StateSpace, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyStateSpaceModel(PyLoihiProcessModel):
    """Bit-accurate integer ProcessModel of `StateSpace`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=24)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    y: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    refractory: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    a_re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    a_im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    b_re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    b_im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    c_re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    c_im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    r_re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    r_im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    d: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    bias: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)
    vth: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        per_sum = proc_params["rounding"] == "per-sum"
        self.advance = self.advance_per_sum if per_sum else self.advance_per_product
        self.output = self.output_per_sum if per_sum else self.output_per_product

    def advance_per_product(self, re: Integers, im: Integers, a: Integers) -> tuple[Integers, Integers]:
        """Next state, each product rounded by itself."""
        frac_a, frac_b = self.proc_params["frac_a"], self.proc_params["frac_b"]
        new_re = rz(self.a_re * re, frac_a) - rz(self.a_im * im, frac_a) + rz(self.b_re * a, frac_b)
        new_im = rz(self.a_im * re, frac_a) + rz(self.a_re * im, frac_a) + rz(self.b_im * a, frac_b)
        return new_re, new_im

    def advance_per_sum(self, re: Integers, im: Integers, a: Integers) -> tuple[Integers, Integers]:
        """Next state, each sum rounded once."""
        frac_a = self.proc_params["frac_a"]
        align = frac_a - self.proc_params["frac_b"]
        new_re = rz(self.a_re * re - self.a_im * im + (self.b_re * a << align), frac_a)
        new_im = rz(self.a_im * re + self.a_re * im + (self.b_im * a << align), frac_a)
        return new_re, new_im

    def output_per_product(self, re: Integers, im: Integers, a: Integers) -> Integers:
        """y without bias, each product rounded by itself."""
        frac_c, frac_d = self.proc_params["frac_c"], self.proc_params["frac_d"]
        states: Integers = (rz(self.c_re * re, frac_c) - rz(self.c_im * im, frac_c)).sum(axis=-1)
        return states + rz(self.d * a, frac_d)

    def output_per_sum(self, re: Integers, im: Integers, a: Integers) -> Integers:
        """y without bias, rounded once."""
        frac_c, frac_d = self.proc_params["frac_c"], self.proc_params["frac_d"]
        states: Integers = (self.c_re * re - self.c_im * im).sum(axis=-1)
        return rz(states + (self.d * a << (frac_c - frac_d)), frac_c)

    def reset_states(self, spikes: NDArray[np.bool_]) -> None:
        """Apply the reset action to the neurons that spiked."""
        bits = self.proc_params["state_bits"]
        if self.proc_params["reset"] == "hard":
            self.re[spikes], self.im[spikes] = self.r_re[spikes], self.r_im[spikes]
        elif self.proc_params["reset"] == "soft":
            self.re[spikes] = sat(self.re[spikes].astype(np.int64) - self.r_re[spikes], bits)
            self.im[spikes] = sat(self.im[spikes].astype(np.int64) - self.r_im[spikes], bits)

    def run_spk(self) -> None:
        """One step: states, output, threshold, reset, counter."""
        a = self.a_in.recv().astype(np.int64)
        params = self.proc_params
        if resets_now(self.time_step, params):
            for register in (self.re, self.im, self.y, self.refractory):
                register[:] = 0
        silent = self.refractory > 0
        frozen = (silent & (params["refractory_mode"] == "hold"))[:, np.newaxis]
        re, im = self.advance(self.re.astype(np.int64), self.im.astype(np.int64), a[:, np.newaxis])
        self.re[:] = np.where(frozen, self.re, sat(re, params["state_bits"]))
        self.im[:] = np.where(frozen, self.im, sat(im, params["state_bits"]))
        y = self.output(self.re.astype(np.int64), self.im.astype(np.int64), a) + self.bias
        self.y[:] = y
        spikes = ~silent & (y > self.vth)
        self.reset_states(spikes)
        self.refractory[:] = np.where(spikes, params["refractory_steps"], np.maximum(self.refractory - 1, 0))
        self.s_out.send(spikes)
        if params["trace"] is not None:
            params["trace"].write(self.time_step, spikes=spikes, re=self.re, im=self.im, y=y)
