"""Our Processes against Intel's, recordings against Monitors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import lava_models as m
import numpy as np
import pytest

from nmdeploy.backends.lava_worker import run_python, workspace

pytestmark = pytest.mark.lava


def feedback(delay: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    nodes = {"input": m.input_node(4), "s": m.dense(rng, 4, 4), "n": m.lif(rng, 4), "t": m.dense(rng, 4, 4)}
    nodes |= {"k": m.lif(rng, 4), "back": m.dense(rng, 4, 4)}
    edges = [["input", "s", 0], ["s", "n", 0], ["n", "t", 0], ["t", "k", 0], ["k", "back", delay], ["back", "n", 0]]
    return m.model(nodes, edges, "k")


def refusals() -> dict[str, tuple[dict[str, Any], str]]:
    rng = np.random.default_rng(1)
    space, good = m.state_space(rng, 4, 2), m.chain(m.lif(rng, 4))
    return {
        "wide": (m.chain({**space, "state_bits": 40}), "n: state_bits is 40"),
        "rounding": (m.chain({**space, "rounding": "floor"}), "rounding is 'floor'"),
        "align": (feedback(1), "edge k -> back: feedback with delay 1 cannot be aligned; it needs 2 or more"),
        "loop": (feedback(0), "closes a loop without delay"),
        "version": ({**good, "version": 2}, "'nmdeploy-model' version 2"),
        "kind": (m.chain({"kind": "conv"}), "node 'n': kind 'conv' has no Lava Process"),
        "codes": (m.chain(m.lif(rng, 4), sign_mode="excitatory"), "excitatory weights of 8 bits are 0 to 255"),
        "field": (m.chain({key: value for key, value in space.items() if key != "vth"}), "node 'n' has no field 'vth'"),
        "output": ({**good, "output": "s"}, "the output 's' is no population"),
    }


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder, rng = tmp_path_factory.mktemp("checks"), np.random.default_rng(5)
    nodes = {
        "input": m.input_node(5, bits=3),
        "s0": m.dense(rng, 5, 6, bias=True),
        "l0": m.lif(rng, 6),
        "r": m.dense(rng, 6, 6, exp=0),
        "s1": m.dense(rng, 6, 5),
        "l1": m.lif(rng, 5, refractory=2),
        "s2": m.dense(rng, 5, 6),
        "x": m.state_space(rng, 6, 3),
        "s3": m.dense(rng, 6, 3),
        "out": m.integrator(rng, 3),
    }
    chain = ["input", "s0", "l0", "s1", "l1", "s2", "x", "s3", "out"]
    edges = [[a, b, 0] for a, b in pairwise(chain)]
    m.write(folder / "monitored.nir", m.model(nodes, [*edges, ["l0", "r", 1], ["r", "l0", 0]], "out"))
    np.save(folder / "monitored.npy", rng.integers(0, 8, (40, 5)))
    found: dict[str, Any] = {}
    (folder / "refused").mkdir()
    for name, (model, _) in refusals().items():
        m.write(folder / "refused" / f"{name}.nir", model)
    script = str(Path(__file__).parent / "lava_checks.py")
    with workspace() as home:
        run_python([script, str(folder)], home, timeout=60, on_message=lambda m: found.update({m.get("check"): m}))
    return found


def test_recordings_equal_monitors(checks: dict[str, Any]) -> None:
    assert checks["monitors"]["different"] == []
    assert checks["monitors"]["compared"] == 3 + 3 + 4 + 1


def test_one_state_equals_intel_rf(checks: dict[str, Any]) -> None:
    assert checks["intel_rf"]["different"] == []
    assert checks["intel_rf"]["largest"].count(2**23 - 1) == 4, "two of the five oscillators grow until they saturate"


def test_refractory_lif_equals_intel_lif(checks: dict[str, Any]) -> None:
    assert checks["intel_lif"] == {"check": "intel_lif", "different": [], "saturated": True, "spiked": True}


def test_exception_in_process_model_is_reported(checks: dict[str, Any]) -> None:
    assert "ZeroDivisionError: third step" in checks["raising"]["traceback"]
    assert checks["raising"]["seconds"] < 5


@pytest.mark.parametrize("name", refusals())
def test_refuses(name: str, checks: dict[str, Any]) -> None:
    assert refusals()[name][1] in checks["refused"][name]
