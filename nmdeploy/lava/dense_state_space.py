"""Spiking neurons with N real states and a dense coupling."""
# mypy: allow-subclassing-any, allow-untyped-decorators, disable-error-code="import-not-found,import-untyped"

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from numpy.typing import NDArray

from nmdeploy.lava.dense_dynamics import DenseDynamics
from nmdeploy.lava.population import Population, describe_spiking
from nmdeploy.lava.spiking_process import PySpikingModel, SpikingProcess

KIND = "dense_state_space"


class DenseStateSpace(SpikingProcess):
    """Spiking state-space neurons with a dense real A (docs/arithmetic.md, `dense_state_space`).

    ::

        x <- A x + B a;   y = C x + D a + bias;   membrane, spikes s, refractory period, reset: see `Mechanisms`

    Parameters
    ----------
    dynamics : DenseDynamics
        The states and their output.
    mechanisms : Mechanisms
        Soma, spiking function, reset and refractory period. The spiking function `phase` is refused.
    reset_interval, reset_offset : int
        Step 0 of a sample is the step with ``time_step % reset_interval == reset_offset``. All registers are zeroed
        before it.
    trace : Trace, optional
        Recording of ``spikes`` (neurons * outputs,) and ``x`` (neurons, states). ``y``, ``v`` and ``w`` are
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


@implements(proc=DenseStateSpace, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt", "bit_accurate_loihi")
class PyDenseStateSpaceModel(PySpikingModel):
    """Bit-accurate integer ProcessModel of `DenseStateSpace`."""

    x: NDArray[np.int32] = LavaPyType(np.ndarray, np.int32, precision=32)


def describe(node: dict[str, Any]) -> Population:
    """Return the population of a `dense_state_space` node."""
    return describe_spiking(node, DenseStateSpace, DenseDynamics)
