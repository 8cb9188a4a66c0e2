"""The input's format, chosen from calibration data: what it holds, how fine it is, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from nmdeploy import pipeline
from nmdeploy.cli.commands import main
from nmdeploy.errors import BadOption, DoesNotFit
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.hardware.profile_toml import load_profile
from nmdeploy.network.graph import BINARY, Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import Fact, Reading, describe_format
from nmdeploy.neurons.lif import LIF
from nmdeploy.quantization.input_format import LARGEST_ERROR, choose_input
from nmdeploy.recording.reader import read_recording
from nmdeploy.samples.source import Data, open_data
from nmdeploy.synapses.dense import Dense

LOIHI2, LOIHI1 = load_profile("loihi2"), load_profile("loihi1")


def assuming(channels: int) -> Network:
    """A network of a source that cannot say the format of its input."""
    nodes = {"in": Input((channels,)), "w": Dense(np.eye(channels)), "n": LIF(np.zeros(channels), 0.9, 1.0)}
    read_as = Reading("a test", input={"format": Fact("binary spikes", "assumed")})
    return Network(nodes, (Edge("in", "w"), Edge("w", "n")), 1.0, "n", read_as=read_as)


def chosen(values: Any, options: ReadOptions = ReadOptions(), profile: Any = LOIHI2) -> FixedPoint:
    """The format for values (samples, steps, channels)."""
    network = assuming(np.shape(values)[-1])
    network, coded = choose_input(network, open_data(np.asarray(values), network.input), profile, options)
    assert coded is not None
    number = network.input.format
    held = coded.first(None)
    assert np.array_equal(held.codes, number.quantize(values))  # nothing saturates: all values are in range
    return number


def error(values: Any, number: FixedPoint) -> Any:
    """Relative error of each channel."""
    flat = np.asarray(values, float).reshape(-1, np.shape(values)[-1])
    norm = np.linalg.norm(flat, axis=0)
    return np.linalg.norm(number.dequantize(number.quantize(flat)) - flat, axis=0) / np.where(norm > 0, norm, 1)


rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (rng.integers(0, 2, (3, 5, 4)), BINARY),
        (rng.integers(0, 2, (3, 5, 4)).astype(bool), BINARY),
        (rng.integers(0, 2, (3, 5, 4)).astype(np.float32), BINARY),
        (np.zeros((3, 5, 4)), BINARY),
        (np.arange(21).reshape(1, 21, 1), FixedPoint(5, 0, signed=False)),
        (np.arange(21.0).reshape(1, 21, 1), FixedPoint(5, 0, signed=False)),
        (np.arange(-20, 21).reshape(1, 41, 1), FixedPoint(6, 0)),
        (np.arange(16).reshape(1, 16, 1) / 16, FixedPoint(5, 4, signed=False)),
        (np.arange(17).reshape(1, 17, 1) / 16, FixedPoint(5, 4, signed=False)),
        (np.arange(-8, 9).reshape(1, 17, 1) / 8, FixedPoint(5, 3)),
        (np.arange(256).reshape(1, 256, 1) / 256, FixedPoint(9, 8, signed=False)),
    ],
    ids=lambda value: repr(value) if isinstance(value, FixedPoint) else str(value.dtype),
)
def test_data_on_a_grid_are_held_exactly(values: Any, expected: FixedPoint) -> None:
    assert chosen(values) == expected
    assert not error(values, expected).any()


MAGNITUDES = st.floats(-3, 3).map(lambda e: 10.0**e)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(MAGNITUDES, min_size=1, max_size=5), st.booleans(), st.integers(0, 2))
def test_rounding_changes_at_most_one_percent_of_each_channel(
    seed: int, scales: list[float], signed: bool, outliers: int
) -> None:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(3, 20, len(scales))) if signed else draw.random((3, 20, len(scales)))
    values[0, 0] *= 1 + 10.0 * outliers
    values *= scales
    try:
        number = chosen(values)
    except DoesNotFit as refused:
        assert "channel" in str(refused) and "--input-bits" in str(refused) and max(scales) / min(scales) > 2**12
        return
    assert (error(values, number) <= LARGEST_ERROR).all()
    assert number.bits <= 24 and number.signed == (values.min() < 0)
    coarser = replace(number, frac=number.frac - 1)
    assert (error(values, coarser) > LARGEST_ERROR).any()  # the fewest fraction bits that do


def test_constant_channels_need_not_be_fine_where_the_payload_ends() -> None:
    values = np.ones((1, 30, 2)) * [1.0, 1e-9]
    values[0, ::2, 0] = 0.3
    assert error(values, chosen(values))[0] <= LARGEST_ERROR
    values[0, ::2, 1] = 0
    with pytest.raises(DoesNotFit, match=r"channel 1 of the inputs needs more than the 24 bits.*rescale the channel"):
        chosen(values)


def test_a_chip_of_binary_spikes_takes_no_values() -> None:
    with pytest.raises(DoesNotFit, match=r"profile 'loihi1'.*binary spikes.*0\.25 to 0\.75.*--profile loihi2"):
        chosen([[[0.25], [0.75]]], profile=LOIHI1)
    assert chosen([[[0.0], [1.0]]], profile=LOIHI1) == BINARY


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (ReadOptions(input_bits=9, input_frac=6), FixedPoint(9, 6)),
        (ReadOptions(input_bits=8), FixedPoint(8, 5)),
        (ReadOptions(input_frac=3), FixedPoint(6, 3)),
    ],
)
def test_options_give_the_format_and_data_what_they_leave_open(said: ReadOptions, expected: FixedPoint) -> None:
    assert chosen([[[-0.3], [2.9]]], said) == expected


def test_a_format_that_the_source_holds_is_kept() -> None:
    network = replace(assuming(1), read_as=None)
    data = Data(np.ones((1, 2, 1), np.uint8), None, np.array([2]), np.full((1, 2, 1), 0.7))
    assert choose_input(network, data, LOIHI2)[0].input.format == BINARY
    with pytest.raises(BadOption, match=r"--input-bits.*holds its input's format, binary spikes: leave them out"):
        choose_input(network, data, LOIHI2, ReadOptions(input_bits=4))


def test_reading_says_format_and_rounding() -> None:
    network, _ = choose_input(assuming(2), open_data(np.full((1, 3, 2), [0.4, 0.3]), Input((2,))), LOIHI2)
    assert network.read_as is not None
    held = network.read_as.input
    assert held["format"] == Fact(describe_format(network.input.format), "data")
    assert held["rounding"].by == "data" and held["rounding"].value.startswith("0.0039 (channel 0")
    again, _ = choose_input(network, open_data(np.full((1, 3, 2), 0.25), network.input), LOIHI2)
    assert again.input == network.input  # what was chosen once is kept


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A NIR file: two channels, one to one into IF neurons of threshold 1."""
    ones = np.ones(2)
    nodes = {
        "input": nir.Input(np.array([2])),
        "fc": nir.Linear(np.eye(2)),
        "n": nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones),
        "output": nir.Output(np.array([2])),
    }
    nir.write(tmp_path / "net.nir", nir.NIRGraph(nodes, [("input", "fc"), ("fc", "n"), ("n", "output")]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spikes(data: str) -> list[int]:
    """Spikes of each neuron."""
    result = run("simulate", "model.nir", "--data", data, "-o", "rec.h5")
    assert result.exit_code == 0, result.output
    return [int(n) for n in read_recording("rec.h5").output.sum((0, 1))]


def test_grey_values_give_the_rates_of_the_float_network(relay: Path) -> None:
    np.savez("data.npz", inputs=np.full((1, 50, 2), [0.4, 0.3]))
    assert run("export", "net.nir", "--dt", "1", "--data", "data.npz", "-o", "model.nir").exit_code == 0
    assert spikes("data.npz") == [16, 12]
    result = run("verify", "model.nir", "--data", "data.npz", "--checkpoint", "net.nir", "--against", "compiled")
    assert result.exit_code == 0 and result.stdout.startswith("integers against compiled: equal, 1 samples, 50 steps")
    read_as = pipeline.read("model.nir").read_as
    assert read_as is not None and read_as.input["format"].by == "data"


def test_options_and_their_remedies_work(relay: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 21, (2, 30, 2))
    np.savez("counts.npz", inputs=counts)
    np.savez("spikes.npz", inputs=counts > 10)
    export = ("export", "net.nir", "--dt", "1", "-o", "model.nir")
    assert run(*export, "--data", "spikes.npz").exit_code == 0
    refused = run("simulate", "model.nir", "--data", "counts.npz", "-o", "rec.h5")
    assert refused.exit_code == 2 and "export again with --data that hold such values" in refused.stderr
    assert run(*export, "--data", "counts.npz").exit_code == 0
    assert pipeline.read("model.nir").input.format == FixedPoint(5, 0, signed=False)
    spikes("counts.npz")
    narrow = run(*export, "--data", "counts.npz", "--input-bits", "3", "--input-frac", "0")
    assert narrow.exit_code == 2 and narrow.stderr.count("\n") == 1 and "more --input-bits" in narrow.stderr
    assert run(*export, "--data", "counts.npz", "--input-bits", "6", "--input-frac", "0").exit_code == 0
    assert pipeline.read("model.nir").input.format == FixedPoint(6, 0, signed=False)
    spikes("counts.npz")


def test_what_a_network_leaves_to_the_data_is_chosen_by_quantize_too(relay: Path) -> None:
    network = pipeline.load("net.nir", dt=1.0)
    quantized = pipeline.quantize(network, data=np.full((1, 50, 2), [0.4, 0.3]))
    assert quantized.input.format.frac == 8
    recording = pipeline.run(quantized, np.full((1, 50, 2), [0.4, 0.3]))
    assert recording.output.sum((0, 1)).tolist() == [16, 12]


def test_an_input_option_for_a_checkpoint_is_refused(tmp_path: Path) -> None:
    from nmdeploy.examples import digits

    result = run("export", digits().checkpoint, "--input-bits", "4", "-o", tmp_path / "m.nir")
    assert result.exit_code == 2 and "--input-bits 4" in result.stderr and "leave --input-bits out" in result.stderr


def test_bool_int_and_float_spikes_are_the_same_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a format with fraction bits, as the demo's: True is the value 1.0, not code 1."""
    from nmdeploy.examples import digits

    monkeypatch.chdir(tmp_path)
    files = digits()
    assert run("export", files.checkpoint, "--data", files.calibration, "-o", "model.nir").exit_code == 0
    pixels = np.random.default_rng(1).random((20, 64, 1)) < 0.4
    found = []
    for kind in (bool, np.uint8, np.int64, np.float32):
        np.savez("data.npz", inputs=pixels.astype(kind))
        assert run("simulate", "model.nir", "--data", "data.npz", "-o", "rec.h5").exit_code == 0
        recording = read_recording("rec.h5")
        assert recording.predictions is not None
        found.append((recording.inputs_sha256, recording.predictions.tolist()))
    assert all(each == found[0] for each in found) and len(set(found[0][1])) > 1


def test_an_export_and_a_verification_name_accuracies_at_chance(relay: Path) -> None:
    draw = np.random.default_rng(0)
    np.savez("data.npz", inputs=draw.random((40, 10, 2)), labels=draw.integers(0, 2, 40))
    made = run("export", "net.nir", "--dt", "1", "--data", "data.npz", "-o", "model.nir")
    assert "note: on the calibration data, the accuracy of the integers" in made.stderr
    result = run("verify", "model.nir", "--data", "data.npz", "--checkpoint", "net.nir", "--against", "compiled")
    warned = [line for line in result.stdout.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 3 and all("not different from chance (0.5000 of 2 classes)" in line for line in warned)
