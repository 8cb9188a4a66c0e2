"""The pages of the models: generated, current, and what they count is right by hand."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.neurons.state_space_integer import QuantizedStateSpace
from nmdeploy.systems import systems

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
    assert {page.stem for page in (DOCS / "models").glob("*.md")} == set(systems())
    for name in systems():
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
    "parameters": 99,
    "seconds": 12.3,
    "diagnosis": "it is made up",
    "curve": [{"epoch": 5, "loss": 0.5, "training_accuracy": 0.75, "test_accuracy": 0.7}],
    "neuron": dict.fromkeys(("multiplications", "shifts", "additions", "comparisons", "bits"), 1.0),
}


def test_a_row(docs: Any) -> None:
    text = docs("models_pages").models_page({"binary-s4d": RESULT}, {})
    assert "| `binary-s4d` | 0.9000 | 0.8950 | 0.123 | 1234 | 1234 | 78 (a) | 4 steps | 99 | 12 s |\n" in text
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


def test_bad_arguments(docs: Any) -> None:
    generate = docs("generate_models")
    assert generate.run(["--tarin"]) == 2
    with pytest.raises(SystemExit, match="row 'nobody' is unknown"):
        generate.run(["--train", "nobody"])


def test_operations_by_hand(docs: Any) -> None:
    neuron = QuantizedStateSpace(
        rounding="per-product",
        state_bits=24,
        coefficient_bits=16,
        frac_a=12,
        frac_b=4,
        frac_c=10,
        frac_d=10,
        frac_in=0,
        a_re=np.array([[3, 4], [0, 5]]),
        a_im=np.array([[1, 0], [0, 7]]),
        b_re=np.array([[8, 8], [8, 8]]),
        b_im=np.zeros((2, 2)),
        c_re=np.array([[9, 0], [9, 1]]),
        c_im=np.array([[-2, 0], [0, 0]]),
        d=np.array([0, -6]),
        bias=np.array([5, 0]),
        vth=np.array([1, 1]),
        frac_x=np.zeros((2, 2), int),
        frac_y=np.zeros(2, int),
        gain=np.ones(2),
        reset_condition="any",
        reset_action="soft",
        r_re=np.array([[1, 0], [0, 0]]),
        r_im=np.zeros((2, 2)),
    )
    found = docs("models_operations").step_operations(neuron)
    # a_re: 3 5 (twice each) and 4 (twice); a_im: 7 (twice) and 1 (twice); b: four 8; c: 9 9 and 1 -2; d: -6
    assert found["multiplications"] == (2 * 2 + 2 + 2 + 1) / 2
    assert found["shifts"] == (2 + 2 + 4 + 2) / 2
    assert found["additions"] == found["multiplications"] + found["shifts"] + (1 + 1) / 2
    assert found["comparisons"] == 1 and found["bits"] == neuron.footprint_bits / 2


def test_operations_of_a_lif(docs: Any) -> None:
    neuron = QuantizedLIF(
        du=np.array([4095, 0]), dv=np.array([128, 3]), vth=np.array([10, 10]), bias_mant=np.array([0, 5]), bias_exp=0
    )
    found = docs("models_operations").step_operations(neuron)
    # u * 4095, v * 3968, v * 4093; a << 6; their sums, u into v, one bias
    assert (found["multiplications"], found["shifts"], found["additions"]) == (3 / 2, 1, (3 + 2 + 2 + 1) / 2)
