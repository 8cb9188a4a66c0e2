"""Recordings that are written part by part: the same file as at once, and nothing of one that fails."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import processes
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import STEPS, recording
from shared import HELPERS

from nmdeploy._util.atomic_files import Unfailing, atomic_write
from nmdeploy.errors import BadData, BadFile
from nmdeploy.recording import column as recording_column
from nmdeploy.recording.reader import describe_recording, read_recording, write_recording
from nmdeploy.recording.types import ATTRIBUTES, Layer, Recording
from nmdeploy.recording.writer import RecordingWriter

EXTREMES = st.sampled_from([-(2**63), 2**63 - 1, -1, 0, 1, 2**24, -(2**31)])


def part_of(whole: Recording, part: slice) -> Recording:
    def cut(layer: Layer) -> Layer:
        states, counts = ({k: v[part] for k, v in held.items()} for held in (layer.states, layer.counts))
        return Layer(None if layer.spikes is None else layer.spikes[part], states, counts)

    layers = {name: cut(layer) for name, layer in whole.layers.items()}
    return replace(whole, output=whole.output[part], lengths=whole.lengths[part], layers=layers)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 40),
    values=st.lists(EXTREMES | st.integers(-300, 300), min_size=1, max_size=30),
    size=st.integers(1, 41),
    chunk=st.sampled_from([1, 64, 1000, 1 << 20]),
    known=st.booleans(),
    spiking=st.booleans(),
)
def test_parts_are_the_whole(
    samples: int, values: list[int], size: int, chunk: int, known: bool, spiking: bool, tmp_path_factory: Any
) -> None:
    path, whole = tmp_path_factory.mktemp("x") / "r.h5", recording(samples, values, spiking)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording_column, "CHUNK_BYTES", chunk)
        with RecordingWriter(path, samples if known else None) as writer:
            for first in range(0, samples, size):
                writer.append(part_of(whole, slice(first, first + size)))
    assert read_recording(path) == whole
    described = describe_recording(path)
    assert (described["samples"], described["steps"], described["layers"]) == (samples, STEPS, ["b", "a"])


def test_files_of_earlier_versions(tmp_path: Path) -> None:
    whole = recording(3, [1, 2, 3])
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for name in ATTRIBUTES:
            file.attrs[name] = getattr(whole, name)
        file.create_dataset("output/readout", data=whole.output, **packed)
        file["lengths"] = whole.lengths
        layers = file.create_group("layers", track_order=True)
        for name, layer in whole.layers.items():
            stored = layer.spikes.astype(np.uint8) if layer.spikes.dtype == bool else layer.spikes  # type: ignore[union-attr]
            layers.create_dataset(f"{name}/spikes", data=stored, **packed)
            for kind, arrays in (("states", layer.states), ("counts", layer.counts)):
                group = layers[name].create_group(kind, track_order=True)
                for key, values in arrays.items():
                    group[key] = values
    assert read_recording(tmp_path / "old.h5") == whole


def test_a_changed_value_is_damage(tmp_path: Path) -> None:
    write_recording(recording(3, [1234567]), tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        chunk = file["output/readout"].id.get_chunk_info(0)
    content = bytearray((tmp_path / "r.h5").read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    (tmp_path / "r.h5").write_bytes(content)
    with pytest.raises(BadFile, match="damaged"):
        read_recording(tmp_path / "r.h5")


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("parts", [0, 1, 2])
@pytest.mark.parametrize("error", [BadData("bad"), OSError(errno.EIO, "of the input"), KeyboardInterrupt()])
def test_what_the_block_raises_is_passed_on(error: BaseException, parts: int, existing: bool, tmp_path: Path) -> None:
    if existing:
        (tmp_path / "r.h5").write_text("kept")
    before = processes.files(tmp_path)
    with pytest.raises(type(error)) as found, RecordingWriter(tmp_path / "r.h5") as writer:
        for _ in range(parts):
            writer.append(recording(3, [1]))
        raise error
    assert found.value is error
    assert processes.files(tmp_path) == before


def test_parts_must_be_alike_and_all_there(tmp_path: Path) -> None:
    first = recording(3, [1])
    others = (
        replace(first, layers={}),
        replace(first, output=first.output[..., :2]),
        replace(first, output=first.output.astype(np.int32)),
        replace(first, lengths=first.lengths[:2]),
        replace(first, latency=4),
    )
    for other in others:
        with pytest.raises(BadData, match="backend 'test' is faulty"), RecordingWriter(tmp_path / "r.h5") as writer:
            writer.append(first)
            writer.append(other)
    for samples, parts in ((None, 0), (3, 0), (7, 2)):
        with (
            pytest.raises(BadData, match="samples were recorded"),
            RecordingWriter(tmp_path / "r.h5", samples) as writer,
        ):
            for _ in range(parts):
                writer.append(first)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["folder", "gone/r.h5"])
def test_a_path_that_cannot_be(target: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadFile), RecordingWriter(tmp_path / target):
        raise AssertionError("the block was entered")


def test_in_another_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=write_recording, args=(recording(3, [1]), tmp_path / "r.h5"))
    thread.start()
    thread.join()
    assert read_recording(tmp_path / "r.h5").samples == 3


def test_a_write_that_fails_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BadData), atomic_write(tmp_path / "x") as file:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        try:
            disk = Unfailing(file)
            assert disk.write(b"a" * 60) == 60 and disk.error is None
            assert disk.write(b"b" * 60) == 60 and isinstance(disk.error, OSError)
            assert disk.error.errno == errno.EFBIG
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert disk.write(b"c" * 60) == 60 and os.fstat(file.fileno()).st_size == 100
        disk.seek(50)
        buffer = bytearray(60)
        assert disk.readinto(memoryview(buffer)) == 60 and buffer == b"a" * 10 + b"b" * 40 + bytes(10)
        raise BadData("gone")
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from recordings import recording
from nmdeploy.errors import BadFile
from nmdeploy.recording.writer import RecordingWriter
try:
    with RecordingWriter("r.h5") as writer:
        for index in range(400):
            writer.append(recording(50, [hash(str(i)) for i in range(index, index + 9999)]))
except BadFile as error:
    print(index, error)
"""


def on_a_full_disk(folder: Path, limit: int | None) -> str:
    """What a process of its own says that writes 10 MB to where there is no such room."""

    def before() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    outcome = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM.format(tests=str(HELPERS))],  # bytecode would be cut to the limit
        cwd=folder,
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert list(folder.iterdir()) == []
    return outcome.stdout


@pytest.mark.parametrize("limit", [0, 1, 4096, 200_000, 1_000_003, 5_000_000])
def test_a_limit_on_the_size_of_files(limit: int, tmp_path: Path) -> None:
    said = on_a_full_disk(tmp_path, limit)
    assert "r.h5: cannot be written (File too large): choose a path in a writable folder with " in said


@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "1m", "5m"])
def test_a_full_file_system(size: str, tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        assert "cannot be written (No space left on device)" in on_a_full_disk(tmp_path, None)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
