"""Importing the rest of NIR's dense part, against a simulation of the same graphs that shares no code with nmdeploy."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner
from nir_simulation import Simulation

from nmdeploy.backends import reference
from nmdeploy.cli.commands import main
from nmdeploy.errors import NmdeployError, UnsupportedParameter
from nmdeploy.hardware.mapping import map_network
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.importers import nir as importer
from nmdeploy.network.float_run import run_float
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.neurons.base import QuantizationConfig
from nmdeploy.quantization.post_training import calibrate, quantize_network

DT, STEPS = 1e-3, 120
Rng = np.random.Generator
SEEDS = range(4)


def draw(rng: Rng, size: int, *, cuba: bool = False, leak: float = 0.0) -> dict[str, Any]:
    """Parameters of a leaky population."""
    times = ("tau_syn", "tau_mem") if cuba else ("tau",)
    values = {key: rng.uniform(3, 20, size) * DT for key in times}
    values |= {"r": rng.uniform(4, 9, size), "v_leak": leak * rng.normal(size=size)}
    return values | ({"w_in": rng.uniform(1, 2, size)} if cuba else {})


def silent(kind: str, rng: Rng, size: int) -> Any:
    """A population without spikes."""
    if kind == "I":
        return nir.I(rng.uniform(10, 30, size))
    if kind == "LI":
        return nir.LI(**draw(rng, size, leak=0.05))
    return nir.CubaLI(**draw(rng, size, cuba=True, leak=0.05))


def lif(rng: Rng, size: int) -> Any:
    """A LIF population."""
    return nir.LIF(**draw(rng, size), v_threshold=np.full(size, 1.0), v_reset=np.zeros(size))


def linear(rng: Rng, outputs: int, inputs: int) -> Any:
    """Random weights, rather positive."""
    return nir.Linear(rng.normal(0.25, 0.4, (outputs, inputs)))


def affine(rng: Rng, outputs: int, inputs: int) -> Any:
    """Random weights and biases."""
    return nir.Affine(linear(rng, outputs, inputs).weight, 0.05 * rng.normal(size=outputs))


def graph(nodes: dict[str, Any], *more: tuple[str, str], inputs: Any = 5, outputs: Any = 4) -> nir.NIRGraph:
    """Input, nodes in a row, Output, and further edges; only those connect nodes whose names begin with "_"."""
    ends = {"input": nir.Input(np.atleast_1d(inputs)), "output": nir.Output(np.atleast_1d(outputs))}
    row = ["input", *(name for name in nodes if not name.startswith("_")), "output"]
    return nir.NIRGraph({**ends, **nodes}, [*pairwise(row), *more], type_check=False)


def spikes(rng: Rng, size: int = 5) -> Any:
    """Inputs (3, STEPS, size)."""
    return (rng.random((3, STEPS, size)) < 0.35).astype(np.int64)


def load(g: nir.NIRGraph, path: Path, **options: Any) -> Network:
    """Write a graph and import it."""
    nir.write(path / "graph.nir", g, **options)
    return importer.load(path / "graph.nir", ReadOptions(dt=DT))


def agree(network: Network, g: nir.NIRGraph, x: Any, *names: str, late: Any = (), most: float = 0.08) -> None:
    """Compare populations in float: equal; and in integers: about as many spikes of each neuron, near membranes."""
    found = run_float(network, x, trace=True)
    q = quantize_network(network, QuantizationConfig(), ranges=calibrate(network, x))
    integers = reference.run(q, x, trace="states")
    wanted = [Simulation(g, sample, DT, late) for sample in x.astype(float)]
    for name in names:
        expected = np.stack([simulation.of(name) for simulation in wanted])
        if name in found.spikes:
            assert 0 < expected.mean() < 1
            assert (found.spikes[name] == expected).all()
            counts, fired = integers.layers[name].spikes.sum((0, 1)), expected.sum((0, 1))
            assert (np.abs(counts - fired) <= most * fired + 3).all()
        else:
            assert np.allclose(found.membranes[name], expected, atol=1e-12)
            membrane = q.populations[name].dequantize_state("v", integers.layers[name].states["v"])
            assert np.abs(membrane - expected).max() <= 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["LI", "I", "CubaLI"])
def test_an_output_without_spikes(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    g = graph({"fc": affine(rng, 4, 5), "n": silent(kind, rng, 4)})
    network = load(g, tmp_path)
    assert network.readout == "last"
    agree(network, g, spikes(rng), "n")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["LI", "I", "CubaLI"])
def test_a_threshold_reads_a_membrane_and_resets_nothing(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.1, 0.4, 4)
    g = graph(
        {
            "fc": affine(rng, 4, 5),
            "n": silent(kind, rng, 4),
            "s": nir.Threshold(level),
            "fc2": linear(rng, 3, 4),
            "out": lif(rng, 3),
        },
        outputs=3,
    )
    network = load(g, tmp_path)
    assert "n" not in network.nodes and network.readout == "sum"
    agree(network, g, spikes(rng), "s", "out", most=0.15)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_threshold_by_itself(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    g = graph({"fc": linear(rng, 4, 5), "s": nir.Threshold(rng.uniform(0.1, 0.4, 4))})
    agree(load(g, tmp_path), g, spikes(rng), "s")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["LI", "I", "CubaLI"])
def test_a_hidden_membrane_is_sent_as_a_value(kind: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    g = graph({"fc": affine(rng, 6, 5), "n": silent(kind, rng, 6), "fc2": linear(rng, 4, 6), "m": silent("LI", rng, 4)})
    network = load(g, tmp_path)
    agree(network, g, spikes(rng), "n", "m")
    q = quantize_network(network, QuantizationConfig(), ranges=calibrate(network, spikes(rng)))
    assert map_network(q, load_profile("loihi2")).fits
    problems = " ".join(map_network(q, load_profile("loihi1")).problems)
    assert "'n'" in problems and "sends graded values of 12 bits" in problems and "filtered_integrator" in problems


def test_a_membrane_and_spikes_into_one_synapse(tmp_path: Path) -> None:
    """Values have another format than spikes, so that the synapse becomes two; the membrane is read out as well."""
    rng = np.random.default_rng(3)
    nodes = {
        "fc": linear(rng, 4, 5),
        "n": silent("LI", rng, 4),
        "_a": linear(rng, 4, 5),
        "_s": lif(rng, 4),
        "fc2": linear(rng, 4, 4),
        "m": lif(rng, 4),
    }
    g = graph(nodes, ("input", "_a"), ("_a", "_s"), ("_s", "fc2"))
    network = load(g, tmp_path)
    assert len(network.incoming["m"]) == 2
    agree(network, g, spikes(rng), "n", "_s", "m", most=0.2)


def test_a_membrane_is_read_by_a_threshold_and_sent_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    nodes = {
        "fc": linear(rng, 4, 5),
        "n": silent("LI", rng, 4),
        "s": nir.Threshold(np.full(4, 0.2)),
        "fc2": linear(rng, 4, 4),
        "m": lif(rng, 4),
        "_w": linear(rng, 4, 4),
    }
    g = graph(nodes, ("n", "_w"), ("_w", "m"))
    agree(load(g, tmp_path), g, spikes(rng), "n", "s", "m", most=0.2)


@pytest.mark.parametrize("seed", range(7))
def test_delays_for_each_channel(seed: int, tmp_path: Path) -> None:
    """Before a synapse, after one without a bias, two in a row, and 0 steps among them."""
    rng = np.random.default_rng(seed)

    def delay(size: int) -> Any:
        return nir.Delay(rng.integers(0, 6, size) * DT)

    nodes = {
        "d0": delay(5),
        "fc": affine(rng, 4, 5),
        "n": lif(rng, 4),
        "d": delay(4),
        "d2": delay(4),
        "fc2": linear(rng, 4, 4),
        "after": delay(4),
        "m": lif(rng, 4),
    }
    g = graph(nodes)
    network = load(g, tmp_path)
    assert sum(edge.target == "m" for edge in network.edges) > 1
    agree(network, g, spikes(rng), "n", "m", most=0.2)


@pytest.mark.parametrize("seed", SEEDS)
def test_delays_for_each_channel_in_a_loop(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    delays = nir.Delay(rng.integers(1, 5, 4) * DT)
    g = graph(
        {"fc": linear(rng, 4, 5), "n": lif(rng, 4), "_d": delays, "_rec": linear(rng, 4, 4)},
        ("n", "_d"),
        ("_d", "_rec"),
        ("_rec", "n"),
    )
    agree(load(g, tmp_path), g, spikes(rng), "n", most=0.3)


def test_two_paths_of_one_source_into_a_synapse(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    g = graph(
        {
            "fc": linear(rng, 4, 5),
            "n": lif(rng, 4),
            "_d": nir.Delay(np.full(4, 3 * DT)),
            "fc2": linear(rng, 4, 4),
            "m": lif(rng, 4),
        },
        ("n", "_d"),
        ("_d", "fc2"),
    )
    agree(load(g, tmp_path), g, spikes(rng), "n", "m", most=0.3)


def test_a_delay_does_not_hold_back_a_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    g = graph({"fc": affine(rng, 4, 5), "d": nir.Delay(np.array([0, 1, 2, 3]) * DT), "n": lif(rng, 4)})
    with pytest.raises(UnsupportedParameter, match=r"node 'fc': its bias .* put the Delay before a synapse"):
        load(g, tmp_path)
    g.nodes["fc"].bias[1:] = 0  # the one row with a bias has no delay
    agree(load(g, tmp_path), g, spikes(rng), "n")


@pytest.mark.parametrize("flat", [(0, -1), (1, -1), (1, 3), (0, 2), (-3, -1)])
@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 2, 3, 3), (1, 1, 2, 3, 3)])
def test_a_batch_axis_of_one_sample(shape: Any, flat: Any, tmp_path: Path) -> None:
    """At the input and the output, in parameters, and counted or not counted by Flatten."""
    if flat == (1, 3) and len(shape) == 5:
        pytest.skip("names a pair of axes in the middle")
    rng = np.random.default_rng(0)
    neuron = lif(rng, 4)
    for key in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        setattr(neuron, key, getattr(neuron, key)[None])
    g = graph({"fc": linear(rng, 4, 18), "n": neuron}, inputs=shape, outputs=(1, 4))
    flatten = nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1)
    flatten.start_dim, flatten.end_dim = flat
    g.nodes["flat"] = flatten
    g.edges = [("input", "flat"), ("flat", "fc"), ("fc", "n"), ("n", "output")]
    agree(load(g, tmp_path), g, spikes(rng, 18), "n")


def test_flatten_that_leaves_rows_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flatten = nir.Flatten({"input": np.array([2, 3, 3])}, 0, 1)
    g = graph({"flat": flatten, "fc": linear(rng, 4, 18), "n": lif(rng, 4)}, inputs=(2, 3, 3))
    with pytest.raises(NmdeployError, match="put a Flatten between"):
        load(g, tmp_path)


@pytest.mark.parametrize("compression", ["gzip", "lzf", None, 9])
def test_compressed_files_are_the_same(compression: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    g = graph({"fc": affine(rng, 40, 5), "n": silent("CubaLI", rng, 40)}, outputs=40)
    plain, packed = load(g, tmp_path), load(g, tmp_path, compression=compression)
    assert (plain.synapses["fc"].weight == packed.synapses["fc"].weight).all()
    assert all(np.array_equal(a, vars(packed.populations["n"])[key]) for key, a in vars(plain.populations["n"]).items())


@pytest.mark.parametrize("name", ["net.hdf5", "net.h5", "net.hdf", "net.pt", "net"])
def test_a_graph_is_found_by_its_content(name: str, tmp_path: Path) -> None:
    """By `check`, `inspect`, `export` and as a checkpoint; a file of samples with the same ending is still one."""
    rng = np.random.default_rng(0)
    nir.write(tmp_path / name, graph({"fc": linear(rng, 4, 5), "n": lif(rng, 4)}))
    np.savez(tmp_path / "data.npz", inputs=spikes(rng))
    source, data, model = str(tmp_path / name), str(tmp_path / "data.npz"), str(tmp_path / "model.nir")
    for arguments in (
        ["check", source, "--dt", "1e-3"],
        ["inspect", source],
        ["export", source, "--dt", "1e-3", "--data", data, "-o", model],
        ["report", model, "--data", data, "--checkpoint", source, "-o", str(tmp_path / "report.md"), "--dt", "1e-3"],
    ):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, (arguments, result.output)
    (tmp_path / "model.nir").rename(tmp_path / f"model_{name}")
    assert CliRunner().invoke(main, ["inspect", str(tmp_path / f"model_{name}")]).exit_code == 0


def test_samples_and_other_files_are_no_graphs(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "samples.h5", "w") as file:
        file["inputs"] = np.zeros((2, 3, 5))
    (tmp_path / "damaged.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 99)
    (tmp_path / "text.hdf5").write_text("hello")
    assert not importer.recognizes(tmp_path / "samples.h5") and not importer.recognizes(tmp_path / "text.hdf5")
    for name in ("samples.h5", "damaged.hdf5", "text.hdf5"):
        result = CliRunner().invoke(main, ["check", str(tmp_path / name), "--dt", "1e-3"])
        assert result.exit_code == 2 and name in result.output and result.output.count("\n") == 1


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 3), (1, 2, 3, 3)])
def test_samples_may_have_the_batch_axis(shape: Any, batch: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flatten = nir.Flatten({"input": np.array([1, 2, 3, 3])}, 1, -1)
    nir.write(tmp_path / "a.nir", graph({"f": flatten, "fc": linear(rng, 4, 18), "n": lif(rng, 4)}, inputs=shape))
    steps = spikes(rng, 18).reshape(3, STEPS, *(1,) * batch, 2, 3, 3)
    np.savez(tmp_path / "data.npz", inputs=steps)
    np.savez(tmp_path / "one.npz", inputs=steps.reshape(3, STEPS, 1, 2, 3, 3)[0])
    export = ["export", str(tmp_path / "a.nir"), "--dt", "1e-3", "-o", str(tmp_path / "m.nir"), "--data"]
    result = CliRunner().invoke(main, [*export, str(tmp_path / "data.npz")])
    assert result.exit_code == 0, result.output
    if shape[0] == 1:
        refused = CliRunner().invoke(main, [*export, str(tmp_path / "one.npz")])
        assert refused.exit_code == 2 and "add an axis for samples" in refused.output


def test_the_layout_of_older_files_is_the_same(tmp_path: Path) -> None:
    """Texts of fixed length, no version, packed chunks in other byte order, fields that nir added later left out."""
    import h5py

    rng = np.random.default_rng(0)
    cuba = nir.CubaLIF(**draw(rng, 4, cuba=True) | {"w_in": np.ones(4)}, v_threshold=np.ones(4), v_reset=np.zeros(4))
    wanted = load(graph({"fc": affine(rng, 4, 5), "n": cuba}), tmp_path)

    def copied(source: Any, target: Any) -> None:
        for key, held in source.items():
            if isinstance(held, h5py.Group):
                copied(held, target.create_group(key))
            elif h5py.check_string_dtype(held.dtype):
                target.create_dataset(key, data=np.array(held[()], "S"))
            elif key not in ("v_reset", "w_in"):
                value = np.asarray(held[()])
                packed = {"compression": "lzf", "shuffle": True, "chunks": True} if value.ndim else {}
                target.create_dataset(key, data=value.astype(value.dtype.newbyteorder(">")), **packed)

    with h5py.File(tmp_path / "graph.nir") as new, h5py.File(tmp_path / "old.nir", "w") as old:
        copied(new["node"], old.create_group("node"))
    found = importer.load(tmp_path / "old.nir", ReadOptions(dt=DT))
    assert all(np.array_equal(v, vars(wanted.populations["n"])[key]) for key, v in vars(found.populations["n"]).items())
    assert (found.synapses["fc"].weight == wanted.synapses["fc"].weight).all()
