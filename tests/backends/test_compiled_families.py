"""The compiled backend equals the reference in half of 10^9 values: random live networks of every family."""

from __future__ import annotations

import pytest
from compiled_volume import GENERAL, KINDS, LONG, NAMED, NETWORKS, SAME, TOTAL, compare_many, share
from equal_runs import agree
from figures import Figures
from mechanisms import ACTIONS, CONDITIONS, MODES, SPIKES, Mechanisms, legal
from networks_build import Case
from networks_neurons import random_spiking
from networks_wired import Wired

from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.models.catalog import neuron_models
from nmdeploy.network.families import quantized_neurons

COVERS = {
    "lif": ("u_wraps", "v_saturations", "bias", "recurrent"),
    "state_space": (
        "re_saturations",
        "im_saturations",
        "soma",
        "refractory hold",
        "refractory mask",
        "several outputs",
    ),
    "dense_state_space": ("x_saturations", "soma", "refractory hold", "refractory mask", "several outputs"),
    "windowed_state_space and gated_linear_unit": ("windowed", "gated_linear_unit", "per-sum", "per-product"),
    "filtered_integrator": ("u_saturations", "v_saturations"),
}


def test_the_shares_add_up() -> None:
    families = share("families") * NETWORKS["families"] * len(GENERAL)
    models = share("models") * NETWORKS["models"] * len(NAMED)
    assert families + models >= TOTAL


def test_every_family_and_every_model_there_is_takes_part() -> None:
    """Those that nmdeploy finds: a new one is compared too, or this fails."""
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(quantized_neurons())
    assert {*NAMED, *SAME} - {"lif"} == set(neuron_models())
    assert set(KINDS) == set(GENERAL) and set(SAME.values()) <= set(NAMED)


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.slow), pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("family", GENERAL)
def test_many_values_of_a_family(family: str, times: int, figures: Figures) -> None:
    seen = compare_many(family, GENERAL[family], "families", figures, times)
    assert not [what for what in (*COVERS[family], *(f"kind {kind}" for kind in KINDS[family])) if not seen[what]]


def mechanisms(every: int) -> list[Mechanisms]:
    """Every so many of the combinations that mean something, spread over all."""
    found = sorted(legal(), key=lambda m: m.name)[every // 2 :: every]
    used = {part for m in found for part in (m.spike, m.condition, m.action, m.mode)}
    assert used >= {*SPIKES, *CONDITIONS, *ACTIONS, *MODES}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("remainder", range(4))
def test_combinations_of_mechanisms(remainder: int, figures: Figures) -> None:
    found = [m for index, m in enumerate(mechanisms(16)) if index % 4 == remainder]
    for index, m in enumerate(found):
        wired = Wired(index, 7, FixedPoint(3, 0, signed=False))
        wired.builder.population(random_spiking(wired.rng, m.kind, 19, 1 + index % 2, m).at(90), "n")
        wired.connect(["input"], "n")
        agree(Case(m.name, wired.network("n"), None), samples=4, steps=60)
    figures(f"{len(found)} of {len(legal())} combinations of mechanisms equal the reference")
