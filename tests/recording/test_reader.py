"""Recordings on disk: what is read is what was written, by h5py alone too; damage is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from networks import Case, lif_case, state_space_case

from nmdeploy import pipeline
from nmdeploy._util.frozen import same
from nmdeploy.backends import reference
from nmdeploy.errors import BadFile
from nmdeploy.network.network import readout_values
from nmdeploy.recording.reader import read_recording, write_recording
from nmdeploy.recording.types import TRACES, Recording
from nmdeploy.running import with_predictions
from nmdeploy.samples.source import Data

CASES = (lif_case(1), state_space_case(2))


def recorded(case: Case, trace: str) -> Recording:
    samples = len(case.inputs)
    data = Data(case.inputs[:, :20], None, np.full(samples, 15, np.int64))
    return pipeline.run(case.network, data, trace=trace)


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reads_what_was_written(tmp_path: Path, case: Case, trace: str) -> None:
    recording = recorded(case, trace)
    write_recording(recording, tmp_path / "r.h5")
    read = read_recording(tmp_path / "r.h5")
    assert same(vars(read), vars(recording))
    assert list(read.layers) == list(recording.layers)
    assert read.output.dtype == recording.output.dtype


def test_layout_for_other_programs(tmp_path: Path) -> None:
    recording = recorded(CASES[0], "states")
    write_recording(recording, tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        assert set(file) == {"output", "layers", "lengths", "predictions"}
        assert file["predictions"].shape == (1,)
        assert list(file["output"]) == ["spikes" if recording.spiking else "readout"]
        assert file["layers/layer0/spikes"].shape == recording.layers["layer0"].spikes.shape  # type: ignore[union-attr]
        assert set(file["layers/layer0/states"]) == {"u", "v"}
        assert file["layers/layer0/counts/spikes"].shape == (1,)
        assert dict(file.attrs) == {
            "model_sha256": recording.model_sha256,
            "backend": recording.backend,
            "version": recording.version,
            "latency": recording.latency,
            "seed": 0,
            "inputs_sha256": recording.inputs_sha256,
            "format_version": 2,
        }


def test_layout_of_narrow_codes(tmp_path: Path) -> None:
    network, recording = CASES[0].network, recorded(CASES[0], "states")
    write_recording(recording, tmp_path / "r.h5", network.recorded_bits)
    with h5py.File(tmp_path / "r.h5") as file:
        states, codes = file["layers/layer0/states"], recording.layers["layer0"].states
        assert states["u"].dtype == np.int32 and np.array_equal(states["u"][()], codes["u"])
        assert states["v"].dtype == np.int8 and states["v"].shape == (*codes["v"].shape, 3)
        assert {name: values.attrs["bits"] for name, values in states.items()} == {"u": 32, "v": 24}
        low, middle, high = np.moveaxis(states["v"][()].astype(np.int64), -1, 0)
        assert np.array_equal((high << 16) + ((middle & 255) << 8) + (low & 255), codes["v"])
    assert same(vars(read_recording(tmp_path / "r.h5")), vars(recording))


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    write_recording(recorded(CASES[0], "none"), tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5", "a") as file:
        file.attrs["format_version"] = 3
    with pytest.raises(BadFile, match=r"format version 3, and this nmdeploy reads 1 to 2: update it"):
        read_recording(tmp_path / "r.h5")


def test_files_without_classes_are_read(tmp_path: Path) -> None:
    recording = replace(recorded(CASES[0], "none"), predictions=None)
    write_recording(recording, tmp_path / "r.h5")
    assert read_recording(tmp_path / "r.h5") == recording


def test_classes_and_seed(tmp_path: Path) -> None:
    network, codes = CASES[1].network, CASES[1].inputs[:, :20]
    assert recorded(CASES[1], "none").seed == 0
    neurons = {name: neuron for name, neuron in network.populations.items() if hasattr(neuron, "seed")}
    drawing = {
        name: replace(neuron, spike="stochastic", vth=np.abs(neuron.vth), seed=5 + index)
        for index, (name, neuron) in enumerate(neurons.items())
    }
    found = with_predictions(replace(network, nodes={**network.nodes, **drawing}), reference.run(network, codes))
    assert found.seed == 5
    values = readout_values(found.output, network.readout, found.lengths)
    assert found.predictions is not None and found.predictions.tolist() == values.argmax(1).tolist()


def test_replaces_an_existing_file_as_a_whole(tmp_path: Path) -> None:
    recording = recorded(CASES[0], "none")
    write_recording(recording, tmp_path / "r.h5")
    write_recording(replace(recording, seed=7), tmp_path / "r.h5")
    assert read_recording(tmp_path / "r.h5").seed == 7
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5"]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(999)])
def test_no_recording(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.h5").write_bytes(content)
    with pytest.raises(BadFile, match=r"r\.h5: .* not a recording"):
        read_recording(tmp_path / "r.h5")
    for path in (tmp_path, tmp_path / "gone.h5"):
        with pytest.raises(BadFile, match="check the path"):
            read_recording(path)


def test_another_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["layers"] = 3
        file["output/spikes"] = "text"
    with pytest.raises(BadFile, match="not a recording"):
        read_recording(tmp_path / "r.h5")


def test_damage_is_refused_or_read(tmp_path: Path) -> None:
    """No seal protects a recording; but no damage may end in anything else than `BadFile`, or never end."""
    path = tmp_path / "r.h5"
    write_recording(recorded(CASES[0], "spikes"), path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in [*range(0, 8 * 3000, 197), *rng.integers(0, 8 * len(content), 100)]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << int(bit) % 8
        path.write_bytes(changed)
        try:
            read_recording(path)
        except BadFile as error:
            assert "\n" not in str(error)
    for length in range(0, len(content), len(content) // 50):
        path.write_bytes(content[:length])
        with pytest.raises(BadFile):
            read_recording(path)
