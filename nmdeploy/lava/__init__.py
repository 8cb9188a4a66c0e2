"""Lava Processes with bit-accurate fixed-point models, and `build`, which turns a model file into a Lava network.

The package needs Python 3.10, numpy and lava-nc 0.10.0 alone; `build` also needs h5py. Its arithmetic is written by
hand from `docs/arithmetic.md` and imports nothing else of nmdeploy. It is the oracle that `nmdeploy verify` compares
with. Intel's own Processes (Dense, Sparse, DelayDense, LIFReset, RingBuffer) are used wherever they mean the same.
"""

from nmdeploy.lava.dense_dynamics import DenseDynamics
from nmdeploy.lava.dense_state_space import DenseStateSpace
from nmdeploy.lava.diagonal_dynamics import DiagonalDynamics
from nmdeploy.lava.filtered_integrator import FilteredIntegrator
from nmdeploy.lava.gated_linear_unit import GatedLinearUnit
from nmdeploy.lava.integrator import Integrator
from nmdeploy.lava.latch import Latch
from nmdeploy.lava.mechanisms import Mechanisms
from nmdeploy.lava.network import LavaNetwork, build
from nmdeploy.lava.refractory_lif import RefractoryLIF
from nmdeploy.lava.sample_gate import SampleGate
from nmdeploy.lava.state_space import StateSpace
from nmdeploy.lava.trace import Trace
from nmdeploy.lava.traced_lif import TracedLIFReset
from nmdeploy.lava.windowed_state_space import WindowedStateSpace

__all__ = [
    "DenseDynamics",
    "DenseStateSpace",
    "DiagonalDynamics",
    "FilteredIntegrator",
    "GatedLinearUnit",
    "Integrator",
    "Latch",
    "LavaNetwork",
    "Mechanisms",
    "RefractoryLIF",
    "SampleGate",
    "StateSpace",
    "Trace",
    "TracedLIFReset",
    "WindowedStateSpace",
    "build",
]
