"""The pages of the models: generated, current, and what they count is right by hand."""

from __future__ import annotations

import importlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from windows import windowed_of

from nmdeploy.models.catalog import neuron_models
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.gated_linear_unit import GatedLinearUnit
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.neurons.state_space.diagonal import QuantizedStateSpace
from nmdeploy.neurons.state_space.windowed import WindowedStateSpace
from nmdeploy.synapses.dense import Dense

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def docs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the folder docs/."""
    monkeypatch.syspath_prepend(DOCS)

    def module(name: str) -> ModuleType:
        found = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return found

    return module


def test_the_pages_are_current_and_every_row_is_measured(docs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert docs("generate_models").run(["--check"]) == 0, capsys.readouterr().err


def test_every_model_has_a_page_that_the_site_shows() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert {page.stem for page in (DOCS / "models").glob("*.md")} == set(neuron_models())
    for name in neuron_models():
        assert f"- {name}: models/{name}.md\n" in nav


RESULT: dict[str, Any] = {
    "float_accuracy": 0.9,
    "quantized_accuracy": 0.895,
    "spike_rate": 0.1234,
    "synaptic_operations": 1234.5,
    "synaptic_operations_computed": 1234.5,
    "energy_nanojoules": 77.7,
    "energy_source": "made up",
    "latency": 4,
    "lookahead": [0, 0],
    "block_steps": 1,
    "measured": [],
    "model": "binary-s4d",
    "parameters": 99,
    "seconds": 12.3,
    "diagnosis": "it is made up",
    "curve": [{"epoch": 5, "loss": 0.5, "training_accuracy": 0.75, "test_accuracy": 0.7}],
    "neuron": dict.fromkeys(("multiplications", "shifts", "additions", "comparisons", "hashes", "bits"), 1.0),
}


def test_a_row(docs: Any) -> None:
    text = docs("models_pages").models_page({"binary-s4d": RESULT}, {})
    assert "| `binary-s4d` | 0.9000 | 0.8950 | 0.123 | 4 steps | 99 | 12 s |\n" in text
    assert "| `binary-s4d` | 1234 | 1234 | 78 (a) |\n" in text
    assert "- (a) made up\n" in text and "Learning curve" not in text


@pytest.mark.parametrize("change", [{"float_accuracy": 0.79}, {"quantized_accuracy": 0.88}])
def test_a_row_that_misses_is_marked_with_its_learning_curve(docs: Any, change: dict[str, float]) -> None:
    text = docs("models_pages").models_page({"binary-s4d": RESULT | change}, {})
    assert "| **`binary-s4d`** |" in text
    assert (
        "`binary-s4d`: it is made up. Learning curve:\n\n| epoch |" in text
        and "| 5 | 0.500 | 0.7500 | 0.7000 |" in text
    )


def test_what_was_not_measured_is_said(docs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "| `binary-s4d` | not measured |" in docs("models_pages").models_page({}, {})
    generate = docs("generate_models")
    monkeypatch.setattr(generate, "RESULTS", tmp_path / "results.json")
    assert generate.run(["--check"]) == 1


def test_a_changed_figure_is_found(docs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = docs("generate_models")
    results = json.loads(generate.RESULTS.read_text("utf-8"))
    results["binary-s4d"]["float_accuracy"] += 0.001
    (tmp_path / "results.json").write_text(json.dumps(results))
    monkeypatch.setattr(generate, "RESULTS", tmp_path / "results.json")
    assert generate.run(["--check"]) == 1


CURVE = {"curve": [{"epoch": 5}, {"epoch": 80}]}


def test_a_cached_row_is_taken_only_if_it_was_trained_as_today(
    docs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, trained = docs("models_results"), []
    monkeypatch.setattr(results, "CACHE", tmp_path)
    monkeypatch.setattr(results.subprocess, "run", lambda command, check: trained.append(command))
    recipe = results.recipe_of("alif")
    assert (
        recipe["epochs"] == 80 == results.recipe_of("cuba-lif")["epochs"] and json.loads(json.dumps(recipe)) == recipe
    )
    (tmp_path / "alif.safetensors").touch()

    def is_taken(held: dict[str, Any]) -> bool:
        trained.clear()
        (tmp_path / "alif.json").write_text(json.dumps(held))
        assert results.train("alif") == tmp_path / "alif.safetensors"
        return not trained

    assert is_taken(CURVE) and is_taken(CURVE | {"recipe": recipe})
    assert not is_taken({"curve": CURVE["curve"][:1]})
    assert not is_taken(CURVE | {"recipe": recipe | {"rate": 0.5}})
    (tmp_path / "alif.json").unlink()
    results.train("alif")
    assert "alif" in trained[-1] and str(tmp_path / "alif.json") in trained[-1]


def test_bad_arguments(docs: Any) -> None:
    generate = docs("generate_models")
    assert generate.run(["--tarin"]) == 2
    with pytest.raises(SystemExit, match="row 'nobody' is unknown"):
        generate.run(["--train", "nobody"])


@pytest.mark.parametrize(("lookahead", "steps", "says"), [(0, 1, "1 step later"), (4, 6, "6 steps later")])
def test_a_page_says_how_late_a_block_is(docs: Any, lookahead: int, steps: int, says: str) -> None:
    result = RESULT | {"block_steps": steps, "lookahead": [lookahead, 0]}
    text = docs("models_pages").model_page(neuron_models()["binary-s4d"], {"binary-s4d": result})
    assert f"A block is {says} than the one before" in text and ("4 of them the lookahead" in text) == bool(lookahead)


def test_a_block_of_windows_is_as_late_as_its_page_says() -> None:
    nodes: dict[str, Any] = {"in": Input((2,))}
    edges = []
    source = "in"
    for index in range(2):
        names = [f"block{index}{part}" for part in (".synapse", "", ".mixer", ".gate")]
        nodes |= dict(
            zip(names, (Dense(np.eye(2)), windows(), Dense(np.ones((4, 2))), GatedLinearUnit(neurons=2)), strict=True)
        )
        edges += [Edge(*pair) for pair in pairwise([source, *names])]
        source = names[-1]
    network = Network(nodes, tuple(edges), 1.0, source, "sum")
    assert [network.timing.arrival_step[name] for name in ("block0", "block0.gate", "block1")] == [1, 6, 7]
    assert "r + 1 steps later" in " ".join(neuron_models()["windowed-ssm"].hardware.split())


def windows() -> WindowedStateSpace:
    one = np.ones((2, 1))
    return windowed_of(a=0.5 * one, b=one, c=one, d=np.zeros(2), kernel=np.ones((2, 5)), v_threshold=np.zeros(2))


def state_space(**changes: Any) -> QuantizedStateSpace:
    return QuantizedStateSpace(**BY_HAND | changes)


BY_HAND: dict[str, Any] = {
    "rounding": "per-product",
    "state_bits": 24,
    "coefficient_bits": 16,
    "frac_a": 12,
    "frac_b": 4,
    "frac_c": 10,
    "frac_d": 10,
    "frac_in": 0,
    "a_re": np.array([[3, 4], [0, 5]]),
    "a_im": np.array([[1, 0], [0, 7]]),
    "b_re": np.array([[8, 8], [8, 8]]),
    "b_im": np.zeros((2, 2)),
    "c_re": np.array([[9, 0], [9, 1]]),
    "c_im": np.array([[-2, 0], [0, 0]]),
    "d": np.array([0, -6]),
    "bias": np.array([5, 0]),
    "vth": np.array([1, 1]),
    "frac_x": np.zeros((2, 2), int),
    "frac_y": np.zeros(2, int),
    "scale": np.ones(2),
    "reset_condition": "any",
    "reset_action": "soft",
    "r_re": np.array([[1, 0], [0, 0]]),
    "r_im": np.zeros((2, 2)),
}


def test_operations_by_hand(docs: Any) -> None:
    neuron = state_space()
    found = docs("models_operations").step_operations(neuron)
    # a_re: 3 5 (twice each) and 4 (twice); a_im: 7 (twice) and 1 (twice); b: four 8; c: 9 9 and 1 -2; d: -6
    assert found["multiplications"] == (2 * 2 + 2 + 2 + 1) / 2
    assert found["shifts"] == (2 + 2 + 4 + 2) / 2
    # re: terms 3, 2 and 1, 3; im: 2, 1 and 0, 2; y: 9 -2 bias and 9 1 -6; one reset of one state
    assert found["additions"] == (2 + 1 + 0 + 2 + 1 + 0 + 0 + 1 + 2 + 2 + 1) / 2
    assert found["comparisons"] == 1 and found["hashes"] == 0 and found["bits"] == neuron.footprint_bits / 2


def test_operations_of_single_mechanisms(docs: Any) -> None:
    operations = docs("models_operations").step_operations
    plain = operations(state_space())
    biased = operations(state_space(input_bias=np.array([[7], [0]])))
    assert biased["additions"] == plain["additions"] + 1 / 2
    stochastic = operations(state_space(spike="stochastic", vth=np.array([8, 3])))
    assert stochastic["hashes"] == 3 and stochastic["comparisons"] == 1
    assert stochastic["multiplications"] == plain["multiplications"] + 1 / 2
    assert stochastic["shifts"] == plain["shifts"] + 1 / 2
    ternary = operations(state_space(spike="ternary", reset_condition="each"))
    assert ternary["comparisons"] == 2
    magnitude = operations(state_space(reset_condition="magnitude", reset_magnitude=np.full((2, 2), 9)))
    assert magnitude["comparisons"] == 1 + 2 * 2


def test_a_phase_takes_three_comparisons(docs: Any) -> None:
    one = {name: BY_HAND[name][:, :1] for name in ("a_re", "a_im", "b_re", "b_im", "c_re", "c_im", "frac_x")}
    still = {"reset_condition": "never", "reset_action": "none", "r_re": np.zeros((2, 1)), "r_im": np.zeros((2, 1))}
    assert docs("models_operations").step_operations(state_space(**one, **still, spike="phase"))["comparisons"] == 3


def test_operations_of_a_lif(docs: Any) -> None:
    neuron = QuantizedLIF(
        du=np.array([4095, 0]), dv=np.array([128, 3]), vth=np.array([10, 10]), bias_mant=np.array([0, 5]), bias_exp=0
    )
    found = docs("models_operations").step_operations(neuron)
    # u * 4095, v * 3968, v * 4093; a << 6; into u where there is a filter, u into v, one bias
    assert (found["multiplications"], found["shifts"], found["additions"]) == (3 / 2, 1, (1 + 2 + 1) / 2)
