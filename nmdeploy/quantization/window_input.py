"""Approximate form of windows: one event per window, and the receiver's input scaled instead of held.

A population with windows of r steps sends the same output in each step of a window. Take ``x <- A x + B u`` with u
constant over r steps. The state after them equals that of u in the first step alone, with B scaled for each state by

    1 + A**-1 + ... + A**-(r-1)  =  (1 - A**r) / ((1 - A) A**(r-1))

The state is equal at the window's end only. A reader of y within the window gets other values, and D acts once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy.errors import BadOption, UnsupportedParameter
from nmdeploy.network.network import Network
from nmdeploy.neurons.base import Neuron
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.neurons.state_space.windowed import WindowedStateSpace
from nmdeploy.synapses.weights import Weights

FORMS = ("exact", "scaled")


def window_factors(a: npt.NDArray[Any], steps: int) -> npt.NDArray[Any]:
    """Return ``sum of a**-j over j < steps``, the factor from a constant input to one input at the window's start.

    >>> window_factors(np.array([1.0, 0.5]), 3).tolist()
    [3.0, 7.0]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(sum(a ** -float(j) for j in range(steps)))


def send_once(network: Network) -> tuple[Network, list[str]]:
    """Return the network whose windowed populations, and the gates after them, send in a window's first step only.

    Raises
    ------
    BadOption
        No population has windows of more than one step that it could send once.
    UnsupportedParameter
        A receiver's input cannot be scaled; the message has the reason.
    """
    windows = network.timing.hold_steps
    senders = {
        name: windows[name]
        for name, neuron in network.populations.items()
        if windows[name] > 1 and network.outgoing[name] and name != network.output
    }
    if not senders:
        raise BadOption("--window-input scaled: no population of the network has windows: omit the option")
    nodes: dict[str, Any] = dict(network.nodes)
    largest = 0.0
    for name, neuron in network.populations.items():
        steps = _common_window(network, name, senders)
        if steps > 1 and not isinstance(neuron, GatedLinearUnit):
            factor, changed = _scaled(network, name, steps)
            nodes |= changed
            largest = max(largest, factor)
        if name in senders:
            nodes[name] = _once(name, nodes[name], senders[name])
    note = (
        f"windows are sent once, the input of what receives them is scaled (at most {largest:.3g} times): approximate, "
        "states are equal at the end of a window only"
    )
    return replace(network, nodes=nodes), [note]


def _common_window(network: Network, name: str, senders: dict[str, int]) -> int:
    """Return the steps of the windows in which a population gets events.

    `UnsupportedParameter` is raised if only some of its inputs come in these windows.
    """
    reached: dict[str, set[int]] = {
        edge.source: {1 if e.delay else senders.get(e.source, 1) for e in network.incoming[edge.source]}
        for edge in network.incoming[name]
    }
    # A readout is scaled in its weights, synapse by synapse; all others in their B, for all synapses at once.
    groups = list(reached.values())
    if not isinstance(network.nodes[name], Integrator):
        groups = [set().union(*groups)]
    if any(len(group) > 1 for group in groups):
        raise UnsupportedParameter(
            f"population {name!r}: --window-input scaled needs all of its inputs in the same windows, without delays: "
            "choose exact"
        )
    return max((max(group) for group in groups if group), default=1)


def _once(name: str, neuron: Neuron, steps: int) -> Neuron:
    if isinstance(neuron, WindowedStateSpace):
        return replace(neuron, send_once=True)
    if isinstance(neuron, GatedLinearUnit):
        return replace(neuron, send_once=True, window=steps)
    raise UnsupportedParameter(
        f"population {name!r} ({neuron.kind}): --window-input scaled cannot make it send once per window: choose exact"
    )


def _scaled(network: Network, name: str, steps: int) -> tuple[float, dict[str, Any]]:
    """Return the largest factor, and the nodes that the factors change."""
    neuron = network.nodes[name]
    if isinstance(neuron, Integrator):
        factors = _finite(name, window_factors(neuron.beta, steps))
        synapses = [e.source for e in network.incoming[name] if network.timing.hold_steps[e.source] > 1]
        return float(factors.max()), {s: _weighted(s, network.nodes[s], factors) for s in synapses}
    if not isinstance(neuron, (StateSpace, WindowedStateSpace)) or not _linear(neuron):
        raise UnsupportedParameter(
            f"population {name!r} ({neuron.kind}): --window-input scaled takes diagonal dynamics without reset or hold "
            "and readouts: choose exact"
        )
    if isinstance(neuron, StateSpace) and neuron.input_bias.any():
        raise UnsupportedParameter(
            f"population {name!r}: its input bias arrives in every step, --window-input scaled would scale it: move it "
            "into the bias of the neuron's y, or choose exact"
        )
    for edge in network.incoming[name]:
        if network.synapses[edge.source].bias is not None:
            raise UnsupportedParameter(
                f"synapse {edge.source!r}: its bias arrives in every step, --window-input scaled would scale it: "
                "move it into the bias of the neuron's y, or choose exact"
            )
    dynamics = neuron.dynamics if isinstance(neuron, WindowedStateSpace) else neuron
    factors = _finite(name, window_factors(dynamics.a, steps))
    scaled = replace(dynamics, b=dynamics.b * factors[..., None])
    node = replace(neuron, dynamics=scaled) if isinstance(neuron, WindowedStateSpace) else scaled
    return float(np.abs(factors).max()), {name: node}


def _linear(neuron: StateSpace | WindowedStateSpace) -> bool:
    """Return True if the neuron's output does not affect its dynamics."""
    if isinstance(neuron, WindowedStateSpace):
        return True
    held = neuron.refractory_steps > 0 and neuron.refractory_mode == "hold"
    return not held and (neuron.soma or neuron.reset_action == "none")


def _weighted(name: str, synapse: Any, factors: npt.NDArray[Any]) -> Any:
    if not isinstance(synapse, Weights):
        raise UnsupportedParameter(
            f"synapse {name!r} ({synapse.kind}): --window-input scaled takes dense and sparse weights: choose exact"
        )
    return synapse.scaled(factors)


def _finite(name: str, factors: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not np.isfinite(factors).all():
        raise UnsupportedParameter(
            f"population {name!r}: a state decays almost to 0 within a window, no factor holds one event: choose exact"
        )
    return factors
