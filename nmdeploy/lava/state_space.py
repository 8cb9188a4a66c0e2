"""Spiking neurons with N complex states and a diagonal coupling."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray

from nmdeploy.lava.diagonal_dynamics import DiagonalDynamics
from nmdeploy.lava.population import Population, describe_spiking
from nmdeploy.lava.spiking_process import PySpikingModel, SpikingProcess

KIND = "state_space"


class StateSpace(SpikingProcess):
    """Spiking state-space neurons with a complex diagonal A (docs/arithmetic.md, `state_space`).

    ::

        x <- A x + B a;   y = Re(C x) + D a + bias;   membrane, spikes s, refractory period, reset: see `Mechanisms`

    All values are integers, with x = re + i im. One configuration has the re, im and spikes of Intel's fixed-point
    `RF`. It has one state, `per-product`, ``b_re = 2**(state_exp + frac_b)``, ``b_im = 0``, ``c_re = 2**frac_c``,
    ``c_im = 0``, ``d = 0``, ``bias = 0`` and `phase` spikes.

    Parameters
    ----------
    dynamics : DiagonalDynamics
        The states and their output.
    mechanisms : Mechanisms
        Soma, spiking function, reset and refractory period.
    reset_interval, reset_offset : int
        Step 0 of a sample is the step with ``time_step % reset_interval == reset_offset``. All registers are zeroed
        before it.
    trace : Trace, optional
        Recording of ``spikes`` (neurons * outputs,), ``re`` and ``im`` (neurons, states). ``y``, ``v`` and ``w`` are
        (neurons,) with one output per neuron, else (neurons, outputs).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Configuration of Lava's logging.

    Raises
    ------
    ValueError
        Dynamics and mechanisms do not fit together, or the reset interval is below 1.
    """


@implements(proc=StateSpace, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyStateSpaceModel(PySpikingModel):
    """Bit-accurate integer ProcessModel of `StateSpace`."""

    re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)


def describe(node: dict[str, Any]) -> Population:
    """Return the population of a `state_space` node."""
    return describe_spiking(node, StateSpace, DiagonalDynamics)
