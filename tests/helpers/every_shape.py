"""Networks of every shape: chains, feedback, delays, several sources, windows, loops of codes and of random spikes."""

from __future__ import annotations

from collections.abc import Callable

from networks import dense_case, lif_case, state_space_case
from networks_windowed import windowed_case
from networks_wired import chain, delayed, delayed_paths, looped, summed, two_way

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.network import QuantizedNetwork

# Each network is made once: random ones are tuned until they are alive.
WIRED: dict[str, Callable[[], QuantizedNetwork]] = {
    "chain with recurrence": lambda: chain(1, 5, 8, 33),
    "feedback": lambda: two_way(2),
    "long feedback": lambda: two_way(3, 40),
    "delays": lambda: delayed(3, (0, 2, 45)),
    "delayed paths": lambda: delayed_paths(3),
    "sums": lambda: summed(3, ("lif", "ternary"), FixedPoint(4)),
    "graded loops": lambda: looped(4, "graded", 2),
    "stochastic loops": lambda: looped(9, "stochastic", 3),
    **{f"windows {seed}": lambda seed=seed: windowed_case(seed).network for seed in range(5)},
    **{f"lif {seed}": lambda seed=seed: lif_case(seed).network for seed in range(2)},
    **{f"state space {seed}": lambda seed=seed: state_space_case(seed).network for seed in range(2)},
    **{f"dense {seed}": lambda seed=seed: dense_case(seed).network for seed in range(2)},
}
