"""StateSpace: spiking neurons with N complex diagonal states."""
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

    in integers, with x = re + i im. With one state, `per-product`, ``b_re = 2**(state_exp + frac_b)``, ``b_im = 0``,
    ``c_re = 2**frac_c``, ``c_im = 0``, ``d = 0``, ``bias = 0`` and `phase` spikes, re, im and the spikes equal those of
    Intel's fixed-point `RF`.

    Parameters
    ----------
    dynamics : DiagonalDynamics
        The states and their output.
    mechanisms : Mechanisms
        What follows them.
    reset_interval, reset_offset : int
        All registers are zeroed before the step in which ``time_step % reset_interval == reset_offset``: step 0 of a
        sample.
    trace : Trace, optional
        Records ``spikes``, (neurons * outputs,), ``re`` and ``im``, (neurons, states), and ``y``, ``v`` and ``w``,
        (neurons,) or (neurons, outputs).
    name : str, optional
        Name of the Process.
    log_config : LogConfig, optional
        Lava's logging.

    Raises
    ------
    ValueError
        Dynamics and mechanisms do not fit each other, or the reset interval is below 1.
    """


@implements(proc=StateSpace, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyStateSpaceModel(PySpikingModel):
    """Bit-accurate integer ProcessModel of `StateSpace`."""

    re: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)
    im: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)


def describe(node: dict[str, Any]) -> Population:
    """The population of a node of this kind."""
    return describe_spiking(node, StateSpace, DiagonalDynamics)
