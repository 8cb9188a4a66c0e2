"""`check` is `export` without the file: the same options, data and verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extreme_networks import extreme_network
from hypothesis import given, settings
from hypothesis import strategies as st
from nir_networks import random_network
from shared import CALIBRATION, CHECKPOINT, Cli

from nmdeploy import pipeline
from nmdeploy.checking import render
from nmdeploy.errors import BadOption, CalibrationNeeded, NmdeployError
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.pipeline import FormatOverrides
from nmdeploy.samples.source import Data
from nmdeploy.synapses.dense import Dense

OPTIONS = [
    FormatOverrides(),
    FormatOverrides(weight_bits=2),
    FormatOverrides(state_bits=16),
    FormatOverrides(coefficient_bits=6, coefficient_frac=3),
    FormatOverrides(state_rounding="per-sum"),
]


def exported(folder: Path, network: Network, **how: Any) -> NmdeployError | pipeline.Exported:
    try:
        return pipeline.export(network, folder / "m.nir", **how)
    except NmdeployError as error:
        return error


@given(st.integers(0, 2**32), st.sampled_from(OPTIONS), st.booleans(), st.sampled_from(["loihi1", "loihi2"]))
@settings(max_examples=40, deadline=None)
def test_check_says_what_export_says(
    tmp_path_factory: pytest.TempPathFactory, seed: int, options: FormatOverrides, with_data: bool, profile: str
) -> None:
    network = random_network(np.random.default_rng(seed))
    number = network.input.format
    codes = np.random.default_rng(seed).integers(number.min, number.max + 1, (2, 12, network.input.size))
    data = Data(codes, None, np.full(2, 12)) if with_data else None
    made = exported(tmp_path_factory.mktemp("m"), network, profile=profile, data=data, options=options)
    try:
        check = pipeline.check(network, profile, data=data, options=options)
    except BadOption as error:  # a format that the profile does not have
        assert type(made) is BadOption and str(made).endswith(str(error))
        return
    if isinstance(made, CalibrationNeeded):
        assert any("give --data" in node.lost for node in check.nodes) or not check.deployable
    elif isinstance(made, NmdeployError):
        assert not check.deployable
    else:
        assert check.deployable and check.cores is not None
        assert check.cores.used == len(made.mapped.cores)
        assert set(check.notes) <= set(made.notes) and set(made.assessment.warnings) <= set(check.notes)


def weights_and_long_time_constants() -> Network:
    """20 positive weights into current-based neurons whose bound is far over what they reach."""
    weight = np.random.default_rng(0).uniform(0.5, 1, (3, 20))
    nodes: dict[str, Any] = {"i": Input((20,)), "fc": Dense(weight), "n": LIF(np.full(3, 0.999), 0.999, 50.0)}
    return Network(nodes, (Edge("i", "fc"), Edge("fc", "n")), 1e-3, "n")


def test_without_data_check_says_that_it_is_needed_and_export_asks_for_it(tmp_path: Path) -> None:
    network = weights_and_long_time_constants()
    check = pipeline.check(network)
    assert check.deployable
    assert [node.lost for node in check.nodes if node.node == "n"] == ["needs calibration data: give --data"]
    with pytest.raises(CalibrationNeeded, match=r"weight exponent .* give calibration data \(--data\)"):
        pipeline.export(network, tmp_path / "m.nir")
    codes = (np.random.default_rng(0).random((2, 100, 20)) < 0.05).astype(np.int64)
    data = Data(codes, None, np.full(2, 100))
    assert pipeline.export(network, tmp_path / "m.nir", data=data).network
    assert pipeline.check(network, data=data).deployable


def test_the_command_takes_the_options_of_export(cli: Cli) -> None:
    options = ["--data", CALIBRATION, "--weight-bits", 4, "--state-bits", 16, "--coefficient-bits", 14]
    options += ["--coefficient-frac", 11, "--rounding", "per-sum", "--window-input", "exact"]
    outcome = cli("check", CHECKPOINT, *options, "--json")
    assert outcome.exit_code == 0
    document = json.loads(outcome.stdout)
    assert document["deployable"] and document["cores"]["used"] == sum(document["cores"]["layers"].values())
    assert cli("check", CHECKPOINT, "--state-bits", 99).exit_code == 2
    assert cli("check", CHECKPOINT, "--data", "gone.npz").exit_code == 2


def test_a_model_takes_no_options(cli: Cli, lif_model: Any) -> None:
    assert cli("check", lif_model.path).exit_code == 0
    outcome = cli("check", lif_model.path, "--weight-bits", 4)
    assert outcome.exit_code == 2 and "its integers are fixed" in outcome.stderr
    with pytest.raises(BadOption, match="its integers are fixed"):
        pipeline.check(lif_model.path, data=lif_model.data)


def test_cores_by_layer_where_the_network_does_not_fit() -> None:
    size = 3000
    nodes: dict[str, Any] = {"i": Input((size,))}
    edges, before = [], "i"
    for index in range(4):
        nodes |= {
            f"s{index}": Dense(np.ones((size, size), np.float32) / size),
            f"n{index}": LIF(np.zeros(size), 0.9, 1.0),
        }
        edges += [Edge(before, f"s{index}"), Edge(f"s{index}", f"n{index}")]
        before = f"n{index}"
    check = pipeline.check(Network(nodes, tuple(edges), 1e-3, before))
    text = render(check)
    assert not check.deployable and check.cores is not None and not check.cores.fit
    assert all(f"  n{index}: {check.cores.layers[f'n{index}']} cores" in text for index in range(4))


def test_every_bad_node_is_named() -> None:
    network, _ = extreme_network(1)
    populations = [name for name, neuron in network.populations.items() if neuron.spiking]
    bad = {name: LIF(np.full(network.populations[name].size, 1.5), 0.9, 1.0) for name in populations}
    check = pipeline.check(
        Network({**network.nodes, **bad}, network.edges, network.dt, network.output, network.readout)
    )
    assert [node.node for node in check.nodes if not node.deployable] == populations
