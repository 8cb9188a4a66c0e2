"""S4D whose output is read once per window."""

from __future__ import annotations

from nmdeploy.models.catalog import NeuronModel, Option, Options, Trained, plain
from nmdeploy.models.catalog._folding import s4d, s4d_shapes
from nmdeploy.neurons.base import Neuron


def population(trained: Trained) -> Neuron:
    """Return a population whose kernel and threshold contain the normalization, which acts on the window's sum u."""
    from nmdeploy.neurons.state_space.diagonal import StateSpace
    from nmdeploy.neurons.state_space.windowed import WindowedStateSpace

    ones, zeros = 0 * trained.scale + 1, 0 * trained.shift
    dynamics = StateSpace(**s4d(Trained(trained.tensors, ones, zeros, trained.options)), v_threshold=zeros)
    kernel = trained.scale[:, None] * plain(trained, "kernel_taps")
    return WindowedStateSpace(dynamics=dynamics, kernel=kernel, v_threshold=-trained.shift)


def shapes(channels: int, states: int, options: Options) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a trained neuron, with their shapes."""
    return s4d_shapes(channels, states, options) | {"kernel_taps": (channels, options["window"])}


MODEL = NeuronModel(
    name="windowed-ssm",
    summary="S4D read once per window of r steps by a kernel; the spike lasts the window; then a GLU",
    equation="""
y = S4D(a)
u[k] = sum over j < r of w[j] y[k r + j]
s[t] = H(norm(u[floor(t / r)]))
out = value * sigmoid(gate),  [value, gate] = M s + m
""",
    citation=(
        "Zhang, Revisiting reset mechanisms in spiking neural networks for sequential modeling: specialized "
        "discretization for binary activated RNN (SpikingPssm, equations 32 and 33, algorithm 1)."
    ),
    chosen="""
- The last window is padded with zeros. The threshold is 0, and the normalization's shift acts as the threshold.
- Normalization acts on u, one value per window, and folds into the kernel and the threshold. The source normalizes
  over channels: `norm="layer"` trains, `norm="batch"` also deploys.
- The first block has synapses that encode the input. The others take the gated values of the block before unchanged.
- Nothing is reset: training runs in parallel, exactly.
""",
    hardware="""
A population `windowed_state_space`, a dense mixer H to 2 H, a `gated_linear_unit` with a table of the sigmoid. The
population needs the r - 1 later steps of a window; the mixer and the next block's synapse take one step each. A block
is therefore r + 1 steps later than the one before. Its output is constant over a window. Its events are sent once, at
the window's start, and the receiver keeps its synaptic sum: 1 / r of the synaptic operations.

`nmdeploy export --window-input scaled` is an approximate form without that register. A value that is constant over a
window is sent in the first step and is 0 in the others. The receiver's B is scaled instead: each state with pole A by
`(1 - A^r) / ((1 - A) A^(r-1))` = `1 + A^-1 + ... + A^-(r-1)` (r for A = 1). For the readout, the weights are scaled,
with its decay as A. In real numbers, the state at a window's end is equal. These are not equal: the states within a
window, the values read from them (y, hence the window's sum u and its spikes), and D a, which acts in the first step
only. The factor grows as `A^-(r-1)` for fast states, and the coefficients and registers grow with it. The export's
notes report the largest factor.

The scaled form refuses receivers other than readouts and diagonal dynamics without reset or hold. It refuses synapses
with a bias into such dynamics, inputs of which only some are constant over the same window or are delayed, and states
that forget within a window.
""",
    module="nmdeploy.models.modules.windowed:WindowedS4D",
    shapes=shapes,
    population=population,
    options=(Option("window", 5, "r: steps of a window", least=1),),
    mixer=True,
    parallel="exact",
)
