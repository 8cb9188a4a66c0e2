"""Our Processes against Intel's, recordings against Monitors."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import lava_models as m
import numpy as np
import pytest

from nmdeploy.backends._lava_worker import run_python, workspace

pytestmark = pytest.mark.lava


def feedback(delay: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    nodes = {"input": m.input_node(4), "s": m.dense(rng, 4, 4), "n": m.lif(rng, 4), "t": m.dense(rng, 4, 4)}
    nodes |= {"k": m.lif(rng, 4), "back": m.dense(rng, 4, 4)}
    edges = [["input", "s", 0], ["s", "n", 0], ["n", "t", 0], ["t", "k", 0], ["k", "back", delay], ["back", "n", 0]]
    return m.model(nodes, edges, "k")


def windowed_feedback() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    nodes = {"input": m.input_node(4), "s": m.dense(rng, 4, 4), "n": m.windowed(rng, 4, 2, 3)}
    nodes["back"] = m.dense(rng, 4, 4)
    return m.model(nodes, [["input", "s", 0], ["s", "n", 0], ["n", "back", 2], ["back", "n", 0]], "n")


def unit(weight: list[list[int]], bias: list[int] | None = None) -> dict[str, Any]:
    """A synapse with these very numbers."""
    rng = np.random.default_rng(1)
    return {**m.dense(rng, 1, 1), "weight": weight, "weight_exp": 0, "bias": bias, "bias_exp": 0}


def windowed_unit(kernel: list[int], vth: int, send_once: bool = False) -> dict[str, Any]:
    """One neuron with y = a."""
    one: dict[str, Any] = {"a_re": [[0]], "a_im": [[0]], "b_re": [[[1]]], "b_im": [[[0]]], "c_re": [[[1]]]}
    one |= {"c_im": [[[0]]], "d": [[[0]]], "bias": [[0]], "frac_a": 0, "frac_b": 0, "frac_c": 0, "frac_d": 0}
    rng = np.random.default_rng(1)
    own = {"kernel": [kernel], "frac_k": 0, "vth": [vth], "send_once": send_once}
    return {**m.windowed(rng, 1, 1, len(kernel)), **one, **own}


def windowed_chain(send_once: bool) -> dict[str, Any]:
    """Windows of 3 steps, a gate that makes 18 of a spike and 2 of none, windows of 2 steps."""
    nodes = {
        "input": m.input_node(1, bits=4),
        "s0": unit([[1]]),
        "w": windowed_unit([1, 2, -1], 3, send_once),
        "s1": unit([[64], [0]], [8, 0]),
        "g": m.gate(1, gate_shift=16, send_once=send_once, window=3),
        "s2": unit([[1]]),
        "k": windowed_unit([1, 1], 19),
    }
    return m.model(nodes, [[a, b, 0] for a, b in pairwise(nodes)], "k")


def refusals() -> dict[str, tuple[dict[str, Any], str]]:
    rng = np.random.default_rng(1)
    space, good = m.state_space(rng, 4, 2), m.chain(m.lif(rng, 4))
    return {
        "wide": (m.chain({**space, "state_bits": 40}), "node 'n': state_bits is 40; Lava holds 2 to 32 bits"),
        "rounding": (m.chain({**space, "rounding": "floor"}), "rounding is 'floor'"),
        "align": (feedback(1), "edge k -> back: feedback with delay 1 cannot be aligned; it needs 2 or more"),
        "loop": (feedback(0), "closes a loop without delay"),
        "version": (
            {**good, "version": 1},
            "'nmdeploy-model' version 1; this reader knows 'nmdeploy-model' versions 2 and 3",
        ),
        "phase": (m.chain({**space, "spike": "phase"}), "node 'n': phase needs complex dynamics with one state"),
        "condition": (m.chain({**space, "reset_action": "hard"}), "a reset needs both a condition and an action"),
        "adaptation": (m.chain({**space, "adaptation": True}), "node 'n': adaptation needs a soma"),
        "spike": (m.chain({**space, "spike": "loud"}), "node 'n': spike is 'loud'; known are binary, ternary"),
        "signed": (
            m.chain({**space, "spike": "ternary", "reset_condition": "any", "reset_action": "soft"}),
            "soft with signed spikes and condition any has the wrong sign",
        ),
        "modulo": (
            m.chain({**space, "reset_condition": "any", "reset_action": "modulo"}),
            "modulo needs a soma",
        ),
        "which": (
            m.chain(m.state_space(rng, 4, 2, outputs=2, reset_condition="each", reset_action="hard")),
            "which output's?",
        ),
        "kernel": (m.chain({**m.windowed(rng, 4, 2, 3), "window": 2}), "kernel has shape [4, 3]; its window has 2"),
        "windowed-feedback": (
            windowed_feedback(),
            "edge n -> back: feedback with delay 2 cannot be aligned; it needs 3",
        ),
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
        "x": m.state_space(rng, 3, 3, inputs=2, outputs=2, soma=True, adaptation=True),
        "s3": m.dense(rng, 6, 6),
        "c": m.dense_state_space(rng, 6, 3),
        "s4": m.dense(rng, 6, 3),
        "out": m.integrator(rng, 3),
    }
    chain = ["input", "s0", "l0", "s1", "l1", "s2", "x", "s3", "c", "s4", "out"]
    edges = [[a, b, 0] for a, b in pairwise(chain)]
    m.write(folder / "monitored.nir", m.model(nodes, [*edges, ["l0", "r", 1], ["r", "l0", 0]], "out"))
    np.save(folder / "monitored.npy", rng.integers(0, 8, (40, 5)))
    for name, send_once in (("windows", False), ("send_once", True)):
        m.write(folder / f"{name}.nir", windowed_chain(send_once))
    np.save(folder / "windows.npy", np.array([[1, 2, 1, 0, 3, 0, 2], [0, 0, 5, 4, 1, 2, 5]])[..., np.newaxis])
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
    assert checks["monitors"]["compared"] == 3 + 3 + 6 + 3 + 1


def test_one_state_equals_intel_rf(checks: dict[str, Any]) -> None:
    assert checks["intel_rf"]["different"] == []
    assert checks["intel_rf"]["largest"].count(2**23 - 1) == 4, "two of the five oscillators grow until they saturate"
    assert all(checks["intel_rf"]["spikes"]) and sum(checks["intel_rf"]["spikes"]) > 100


def test_windows_by_hand(checks: dict[str, Any]) -> None:
    found = checks["windows"]["windows"]
    assert (found["interval"], found["latency"]) == (7 + 2 + 1, 3 + 2 + 1)
    recorded = {name: np.squeeze(values).tolist() for name, values in found["recorded"].items()}
    assert recorded["w|u"] == [[1, 5, 4, 0, 6, 6, 2], [0, 0, -5, 4, 6, 4, 5]]
    assert recorded["w|spikes"] == [[1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert recorded["g|g"] == [[18, 18, 18, 18, 18, 18, 2], [2, 2, 2, 18, 18, 18, 18]]
    assert recorded["k|spikes"] == [[1, 1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1, 0]]


def test_one_message_a_window(checks: dict[str, Any]) -> None:
    """Senders are silent inside of a window; a latch fills it."""
    sent = checks["windows"]["windows"]["sent"]
    assert np.array(sent["s1.latch"])[0].tolist() == [[64, 0]] * 6 + [[0, 0]]
    sent = {name: np.squeeze(values) for name, values in sent.items()}
    assert sent["w"].tolist() == [[1, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1]]
    assert sent["g"].tolist() == [[18, 0, 0, 18, 0, 0, 2], [2, 0, 0, 18, 0, 0, 18]]
    assert sent["s2.latch"].tolist() == [[18, 18, 18, 18, 18, 18, 2], [2, 2, 2, 18, 18, 18, 18]]


def test_send_once_is_zero_inside_of_a_window(checks: dict[str, Any]) -> None:
    found = checks["windows"]["send_once"]
    assert set(found["sent"]) == {"w", "g"}, "nothing is latched"
    for name, array in (("w", "spikes"), ("g", "g")):
        assert found["sent"][name] == np.array(found["recorded"][f"{name}|{array}"]).tolist()
    assert np.squeeze(found["sent"]["w"]).tolist() == [[1, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 1]]
    assert np.squeeze(found["sent"]["g"]).tolist() == [[18, 0, 0, 18, 0, 0, 2], [2, 0, 0, 18, 0, 0, 18]]


def test_refractory_lif_equals_intel_lif(checks: dict[str, Any]) -> None:
    assert checks["intel_lif"] == {"check": "intel_lif", "different": [], "saturated": True, "spiked": True}


def test_exception_in_process_model_is_reported(checks: dict[str, Any]) -> None:
    assert "ZeroDivisionError: third step" in checks["raising"]["traceback"]
    assert checks["raising"]["seconds"] < 5


@pytest.mark.parametrize("name", refusals())
def test_refuses(name: str, checks: dict[str, Any]) -> None:
    assert refusals()[name][1] in checks["refused"][name]
