"""The reference against Lava on random live networks: every spike and every state. The coverage is printed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from edge_cases import driven_cases, small_cases
from edge_cases_base import beside
from equal_runs import random_codes
from figures import Figures
from lava_equality import assert_covered, assert_equal_in_lava
from mechanisms import ACTIONS, CONDITIONS, SPIKES
from networks import MODELS, Case, dense_case, lif_case, state_space_case
from networks_wired import delayed_paths

LIF_COVERS = (
    *("u_wraps", "v_saturations", "bias", "bias synapse", "recurrent", "inserted delay"),
    *(f"refractory {r}" for r in range(6)),
    *(f"{which} {d}" for which in ("du", "dv") for d in (0, 1, 4095)),
    *(f"{mode} at its edge" for mode in ("mixed", "excitatory", "inhibitory")),
)
MECHANISMS_COVER = (
    *(f"reset {condition}" for condition in CONDITIONS),
    *(f"action {action}" for action in ACTIONS),
    *(f"spike {spike}" for spike in SPIKES if spike != "phase"),
    *("refractory hold", "refractory mask", "refractory mask-raw", "per-product", "per-sum", "recurrent"),
    *("soma", "rectify", "adaptation", "v_saturations", "w_saturations", "v_reset_saturations"),
    *("several inputs", "several outputs", "inserted delay", "bias synapse", "negative weight_exp"),
)
STATE_SPACE_COVERS = (
    *("re_saturations", "im_saturations", "re_reset_saturations", "im_reset_saturations", "spike phase"),
    *MECHANISMS_COVER,
)
DENSE_COVERS = ("x_saturations", "x_reset_saturations", *MECHANISMS_COVER)


@pytest.mark.slow
def test_edges(figures: Figures) -> None:
    assert_equal_in_lava([*driven_cases(), *beside(small_cases())], figures)


@pytest.mark.slow
def test_a_sample_of_every_family_and_model(figures: Figures) -> None:
    """All in one worker, which starts once."""
    makers = [*[lif_case] * 4, *[state_space_case] * 4, *[dense_case] * 4, *MODELS.values()]
    cases = [make(1000 + index) for index, make in enumerate(makers)]
    assert_covered(assert_equal_in_lava(cases, figures), ("dense synapse", "sparse synapse"), len(cases))


@pytest.mark.slow
def test_delays_on_paths_without_a_loop(figures: Figures) -> None:
    """A delayed edge counts as a synapse: start, inserted delays and latency are Lava's."""
    networks = [delayed_paths(seed) for seed in range(8)]
    cases = [
        Case(f"delayed-{seed}", network, random_codes(network, seed, 2, 25)) for seed, network in enumerate(networks)
    ]
    assert_covered(assert_equal_in_lava(cases, figures), ("inserted delay",), len(cases))


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 50, 100, 150])
def test_50_of_200_lif_networks(first: int, figures: Figures) -> None:
    seen = assert_equal_in_lava([lif_case(seed) for seed in range(first, first + 50)], figures)
    assert_covered(seen, LIF_COVERS, 50)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "wanted"), [(state_space_case, STATE_SPACE_COVERS), (dense_case, DENSE_COVERS)])
def test_100_networks_over_all_mechanisms(
    make: Callable[[int], Case], wanted: tuple[str, ...], figures: Figures
) -> None:
    seen = assert_equal_in_lava([make(seed) for seed in range(100)], figures)
    assert_covered(seen, wanted, 100)
