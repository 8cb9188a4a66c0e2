"""Checkpoints of any model: what its description and options make of the tensors, with models made up here."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from nmdeploy.errors import BadFile, UnsupportedParameter
from nmdeploy.importers import checkpoint_content
from nmdeploy.importers.checkpoint import load
from nmdeploy.importers.checkpoint_content import Config, digest, expected_shapes
from nmdeploy.models import catalog as registry
from nmdeploy.models.catalog import NeuronModel, Option, Trained
from nmdeploy.network.network import Network
from nmdeploy.neurons.state_space.diagonal import StateSpace
from nmdeploy.synapses.dense import Dense

FORMAT = {"bits": 5, "frac": 4, "signed": False}
SEEN: list[Trained] = []


def population(trained: Trained) -> StateSpace:
    SEEN.append(trained)
    h, n = trained.tensors["a"].shape
    q, p = trained.options["inputs"], trained.options["outputs"]
    graded = {"spike": "graded", "graded_step": 0.25} if trained.options["spike"] == "graded" else {}
    return StateSpace(
        a=trained.tensors["a"] + 0j,
        b=np.ones((h, n, q), complex),
        c=np.ones((h, p, n), complex),
        d=np.zeros((h, p, q)),
        v_threshold=np.ones((h, p)),
        bias=trained.shift.reshape(h, p),
        **graded,
    )


MODEL = NeuronModel(
    *("made-up", "", "", "", "", "", ""),
    shapes=lambda channels, states, options: {"a": (channels, states)},
    population=population,
    options=(
        Option("inputs", 1, ""),
        Option("outputs", 1, ""),
        Option("spike", "binary", "", ("binary", "graded")),
        Option("tau", 2.0, ""),
    ),
    inputs=lambda options: int(options["inputs"]),
    outputs=lambda options: int(options["outputs"]),
)


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "made-up": MODEL,
        "current": replace(MODEL, name="current", normalizes="current"),
        "mixed": replace(MODEL, name="mixed", mixer=True),
    }
    for module in (registry, checkpoint_content):
        monkeypatch.setattr(module, "neuron_models", lambda: known)
    SEEN.clear()


def config(model: str = "made-up", **changes: Any) -> Config:
    sizes = {"inputs": 2, "channels": 4, "states": 3, "layers": 2, "outputs": 5}
    fixed = {"residual": False, "norm_eps": 1e-5, "dt": 0.001, "readout": "last", "input_format": FORMAT}
    made = Config(model=model, **sizes | fixed | changes)
    return replace(made, options=made.neuron_model.complete(made.options))


def tensors(made: Config) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for name, shape in expected_shapes(made).items():
        value = rng.uniform(0.1, 0.9, shape).astype(np.float32)
        found[name] = np.array(7) if name.endswith("num_batches_tracked") else value
    return found


def write(path: Path, values: Any, held: dict[str, np.ndarray]) -> Path:
    text = json.dumps(values if isinstance(values, dict) else asdict(values))
    safetensors.numpy.save_file(held, path, {"nmdeploy": text, "sha256": digest(text, held)})
    return path


def loaded(folder: Path, made: Config) -> tuple[Network, dict[str, np.ndarray]]:
    held = tensors(made)
    network = load(write(folder / "x.safetensors", made, held))
    return network, {name: np.asarray(value, np.float64) for name, value in held.items()}


def folded(held: dict[str, np.ndarray], block: int) -> tuple[np.ndarray, np.ndarray]:
    norm = {name: held[f"blocks.{block}.norm.{name}"] for name in ("weight", "bias", "running_mean", "running_var")}
    k = norm["weight"] / np.sqrt(norm["running_var"] + 1e-5)
    return k, norm["bias"] - k * norm["running_mean"]


def dense(network: Network, name: str) -> Dense:
    node = network.synapses[name]
    assert isinstance(node, Dense)
    return node


def test_the_membrane_s_normalization_goes_to_the_model(tmp_path: Path) -> None:
    network, held = loaded(tmp_path, config(options={"inputs": 2, "outputs": 3, "tau": 4.0}))
    assert [trained.seed for trained in SEEN] == [0, 1]
    for block, trained in enumerate(SEEN):
        k, c = folded(held, block)
        assert np.array_equal(trained.scale, k) and np.array_equal(trained.shift, c) and k.shape == (12,)
        assert list(trained.tensors) == ["a"] and trained.tensors["a"].dtype == np.float64
        assert trained.options == {"inputs": 2, "outputs": 3, "spike": "binary", "tau": 4.0}
        synapse = dense(network, f"block{block}.synapse")
        assert np.array_equal(synapse.weight, held[f"blocks.{block}.synapse.weight"]) and synapse.bias is None
    assert [dense(network, f"{name}.synapse").shape for name in ("block0", "block1", "readout")] == [
        (8, 2),
        (8, 12),
        (5, 12),
    ]


def test_the_current_s_normalization_goes_to_the_weights_and_the_input_bias(tmp_path: Path) -> None:
    network, held = loaded(tmp_path, config("current", options={"inputs": 2, "outputs": 3}))
    for block, trained in enumerate(SEEN):
        k, c = folded(held, block)
        assert k.shape == (8,)
        synapse = dense(network, f"block{block}.synapse")
        assert np.array_equal(synapse.weight, k[:, None] * held[f"blocks.{block}.synapse.weight"])
        assert synapse.bias is None and np.array_equal(biases(network, f"block{block}"), c)
        assert np.array_equal(trained.scale, np.ones(12)) and not trained.shift.any()


@pytest.mark.parametrize("model", ["made-up", "current"])
def test_without_normalization(tmp_path: Path, model: str) -> None:
    network, held = loaded(tmp_path, config(model, norm="none", options={"inputs": 2}))
    assert not [name for name in held if "norm" in name]
    assert all(np.array_equal(t.scale, np.ones(4)) and not t.shift.any() for t in SEEN)
    assert np.array_equal(dense(network, "block1.synapse").weight, held["blocks.1.synapse.weight"])
    assert dense(network, "block1.synapse").bias is None


def test_layer_normalization_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedParameter, match=r"x\.safetensors: norm = 'layer' .* train with norm='batch'"
    ) as found:
        loaded(tmp_path, config(norm="layer"))
    assert "\n" not in str(found.value) and not SEEN


def test_mixer_and_gate(tmp_path: Path) -> None:
    network, held = loaded(tmp_path, config("mixed"))
    parts = [f"block{block}{part}" for block in (0, 1) for part in (".synapse", "", ".mixer", ".gate")]
    assert network.order == ["input", *parts, "readout.synapse", "readout"]
    assert "blocks.1.synapse.weight" not in held
    assert np.array_equal(dense(network, "block1.synapse").weight, np.eye(4))
    mixer = dense(network, "block0.mixer")
    assert mixer.bias is not None and np.array_equal(mixer.bias, held["blocks.0.mixer.bias"])
    assert mixer.shape == (8, 4) and network.nodes["block0.gate"].kind == "gated_linear_unit"
    chain = {target: [edge.source for edge in edges] for target, edges in network.incoming.items()}
    assert chain["block0.mixer"] == ["block0"] and chain["block0.gate"] == ["block0.mixer"]
    assert chain["block1.synapse"] == ["block0.gate"] and chain["readout.synapse"] == ["block1.gate"]


def test_the_identity_of_a_later_block_takes_the_current_s_normalization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = replace(MODEL, name="mixed", mixer=True, normalizes="current")
    for module in (registry, checkpoint_content):
        monkeypatch.setattr(module, "neuron_models", lambda: {"mixed": both})
    network, held = loaded(tmp_path, config("mixed"))
    k, c = folded(held, 1)
    synapse = dense(network, "block1.synapse")
    assert synapse.bias is None and np.array_equal(biases(network, "block1"), c)
    assert np.array_equal(synapse.weight, np.diag(k))


@pytest.mark.parametrize(
    ("model", "options", "wanted"),
    [
        ("made-up", {}, {"synapse": ["block2", "block1", "block0"], "input_synapse": ["input"]}),
        (
            "made-up",
            {"spike": "graded"},
            {
                "synapse": ["block2"],
                "block1_synapse": ["block1"],
                "block0_synapse": ["block0"],
                "input_synapse": ["input"],
            },
        ),
        (
            "mixed",
            {},
            {
                "synapse": ["block2.gate"],
                "block1.gate_synapse": ["block1.gate"],
                "block0.gate_synapse": ["block0.gate"],
                "input_synapse": ["input"],
            },
        ),
    ],
)
def test_residual_paths_share_a_synapse_where_they_share_a_format(
    tmp_path: Path, model: str, options: dict[str, Any], wanted: dict[str, list[str]]
) -> None:
    network, held = loaded(tmp_path, config(model, inputs=4, layers=3, residual=True, options=options))
    found = {
        edge.source.removeprefix("readout."): [source.source for source in network.incoming[edge.source]]
        for edge in network.incoming["readout"]
    }
    assert found == wanted
    for name in wanted:
        assert np.array_equal(dense(network, f"readout.{name}").weight, held["readout.weight"])


def biases(network: Network, name: str) -> Any:
    population = network.populations[name]
    assert isinstance(population, StateSpace)
    return population.input_bias.ravel()


def test_only_one_of_several_synapses_has_the_bias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # of a population that cannot take it over
    monkeypatch.setattr(StateSpace, "adds_bias", False)
    network, held = loaded(tmp_path, config("current", inputs=4, residual=True))
    assert dense(network, "block1.synapse").bias is not None
    assert dense(network, "block1.input_synapse").bias is None
    k, _ = folded(held, 1)
    assert np.array_equal(dense(network, "block1.input_synapse").weight, k[:, None] * held["blocks.1.synapse.weight"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"tau": 2.0, "spread": 1}}, ["'spread' is unknown", "tau"]),
        ({"options": {"spike": "phase"}}, ["spike = 'phase'", "binary"]),
        ({"options": {"inputs": 1.5}}, ["inputs = 1.5", "type int"]),
        ({"options": {"tau": float("nan")}}, ["options", "finite"]),
        ({"options": []}, ["options = []"]),
        ({"options": {"outputs": 2}}, ["shape (4,)", "(8,)"]),
        ({"norm": "group"}, ["norm = 'group'", "batch"]),
        ({"norm": "none"}, ["norm.bias", "is unknown"]),
        ({"norm": ["batch"]}, ["norm = ['batch']"]),
        ({"model": "made-down"}, ["made-down", "made-up"]),
        ({"model": None}, ["model = None"]),
        ({"model": ["made-up"]}, ["model = ['made-up']"]),
        ({"version": 1}, ["'norm', 'options'"]),
        ({"version": 3}, ["version 3", "limit 2"]),
        ({"version": True}, ["version True"]),
        ({"version": 0}, ["version 0"]),
    ],
)
def test_bad_configuration(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    made = config()
    path = write(tmp_path / "x.safetensors", asdict(made) | changes, tensors(made))
    with pytest.raises(BadFile) as found:
        load(path)
    message = str(found.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and all(word in message for word in words), message


def test_options_that_a_file_leaves_out_have_their_defaults(tmp_path: Path) -> None:
    made = config()
    load(write(tmp_path / "x.safetensors", asdict(made) | {"options": {"tau": 8}}, tensors(made)))
    assert SEEN[0].options == {"inputs": 1, "outputs": 1, "spike": "binary", "tau": 8}


@pytest.mark.parametrize(("model", "node"), [("made-up", "'block1': bias"), ("current", "'block1.synapse': weight")])
def test_values_that_are_not_finite_once_folded(tmp_path: Path, model: str, node: str) -> None:
    made = config(model, norm_eps=0.0)
    held = tensors(made)
    held["blocks.1.norm.running_var"][:] = 0.0
    with pytest.raises(BadFile, match=f"x.safetensors: node {node} is not finite once") as found:
        load(write(tmp_path / "x.safetensors", made, held))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["blocks.1.neuron.a", "blocks.0.mixer.weight"])
def test_tensors_of_another_shape(tmp_path: Path, name: str) -> None:
    made = config("mixed")
    held = tensors(made)
    held[name] = held[name][:-1]
    with pytest.raises(BadFile, match=f"tensor '{name}' has shape"):
        load(write(tmp_path / "x.safetensors", made, held))
