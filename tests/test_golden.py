"""Golden files of every stage, for a small network whose numbers are all written here.

After a change that is meant to change them: ``NMDEPLOY_UPDATE_GOLDEN=1 pytest tests/test_golden.py``; read the diff.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmdeploy import pipeline
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.neurons.integrator import Integrator
from nmdeploy.neurons.lif import LIF
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.nir_io.model import model_content
from nmdeploy.reports import formats
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def floats() -> Network:
    state_space = StateSpace(
        a=[[0.9 + 0.1j, 0.8 - 0.3j], [0.99 + 0.05j, 0.5 + 0.5j], [0.7 + 0j, 0.6 + 0.2j]],
        b=0.25,
        c=[[1.5 - 0.5j, 0.25j], [-0.75 + 1j, 2.0], [1.0 + 1j, -0.5]],
        d=[0.5, 0.0, -0.25],
        v_threshold=[0.5, 0.25, 0.125],
        bias=[0.0, 0.0625, 0.0],
        reset_action="soft",
        reset_condition="any",
        r=0.125,
        refractory_steps=1,
        refractory_mode="mask",
    )
    nodes: dict[str, Any] = {
        "input": Input((2,), FixedPoint(3, 1, signed=False)),
        "in": Dense([[1.0, -0.5], [0.25, 2.0], [0.75, 0.5]]),
        "ssm": state_space,
        "hidden": Dense([[1.0, -0.25, 0.5], [0.125, 1.5, -1.0]], [0.125, -0.0625]),
        "lif": LIF([0.5, 0.5], 0.75, 1.0, bias=[0.03125, 0.0], refractory_steps=2),
        "back": Dense([[0.0, 0.5], [-0.5, 0.0]]),
        "out": Dense([[1.0, -1.0], [0.5, 0.25], [0.0, 2.0]]),
        "readout": Integrator([1.0, 1.0, 0.875], [0.0, 0.125, 0.0]),
    }
    edges = [("input", "in"), ("in", "ssm"), ("ssm", "hidden"), ("hidden", "lif"), ("lif", "back", 1), ("back", "lif")]
    edges += [("lif", "out"), ("out", "readout")]
    return Network(nodes, tuple(Edge(*edge) for edge in edges), 1e-3, "readout", "last")


@pytest.fixture(scope="module")
def data() -> Data:
    steps = np.arange(40)
    codes = np.stack([steps * 3 % 7, steps * 5 % 4 + steps % 3], 1)[None].repeat(2, 0)
    codes[1] = codes[1, ::-1]
    return Data(codes.astype(np.int64), np.array([0, 2]), np.array([40, 25]))


@pytest.fixture(scope="module")
def model(floats: Network, data: Data) -> QuantizedNetwork:
    return pipeline.quantize(floats, "loihi2", data)


def assert_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("NMDEPLOY_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} differs"


def pretty(values: Any) -> str:
    return json.dumps(values, indent=1, default=str) + "\n"


def test_check(floats: Network) -> None:
    assert_golden("check.json", pretty([vars(finding) for finding in pipeline.check(floats, "loihi2").nodes]))


def test_model(model: QuantizedNetwork) -> None:
    text, arrays = model_content(model)
    held = {name: {key: values.tolist() for key, values in node.items()} for name, node in arrays.items()}
    assert_golden("model.json", pretty({"model": json.loads(text), "nodes": held}))


def test_mapping(model: QuantizedNetwork) -> None:
    mapped = pipeline.map_network(model, pipeline.load_profile("loihi2"))
    assert_golden("mapping.json", pretty([core.to_json() for core in mapped.cores]))


def test_recording(model: QuantizedNetwork, data: Data) -> None:
    recording = pipeline.run(model, data, trace="states")
    assert recording.layers["ssm"].spikes is not None and recording.layers["lif"].spikes is not None
    assert 0 < recording.layers["ssm"].spikes.mean() < 0.8 and 0 < recording.layers["lif"].spikes.mean() < 0.8
    layers = {
        name: {
            "counts": {metric: counts.tolist() for metric, counts in layer.counts.items()},
            "last": {state: values[:, -1].tolist() for state, values in layer.states.items()},
            "spikes": None if layer.spikes is None else ["".join(map(str, row.ravel() * 1)) for row in layer.spikes],
        }
        for name, layer in recording.layers.items()
    }
    assert_golden("recording.json", pretty({"output": recording.output.tolist(), "layers": layers}))


@pytest.mark.parametrize("suffix", [".json", ".csv", ".md"])
def test_report(model: QuantizedNetwork, data: Data, floats: Network, suffix: str) -> None:
    report = pipeline.report(model, data, floats=floats)
    assert_golden(f"report{suffix}", formats()[suffix].render(report))
