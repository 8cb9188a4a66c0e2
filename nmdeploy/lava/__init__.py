"""Lava Processes with bit-accurate fixed-point models, and the builder that turns a model file into a Lava network.

Importable on Python 3.10 with numpy and lava-nc 0.10.0 alone (`build` also needs h5py). The arithmetic is written by
hand from `docs/arithmetic.md` and shares nothing with the rest of nmdeploy: it is the oracle that `nmdeploy verify`
compares with. Where Intel's own Process has the same semantics (Dense, DelayDense, LIFReset, RingBuffer), it is used.
"""

from nmdeploy.lava.gate import Gate
from nmdeploy.lava.integrator import Integrator
from nmdeploy.lava.network import LavaNetwork, build
from nmdeploy.lava.refractory_lif import RefractoryLIF
from nmdeploy.lava.state_space import StateSpace
from nmdeploy.lava.trace import Trace
from nmdeploy.lava.traced_lif import TracedLIFReset

__all__ = ["Gate", "Integrator", "LavaNetwork", "RefractoryLIF", "StateSpace", "Trace", "TracedLIFReset", "build"]
