"""Ctrl-C on a terminal: the last line says how far the command came, and nothing is left."""

from __future__ import annotations

import doctest
import os
import pty
import re
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
from shared import Model

from nmdeploy import pipeline
from nmdeploy.cli import interruption
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import Network
from nmdeploy.neurons.lif import LIF
from nmdeploy.synapses.dense import Dense

LAYERS, WIDTH, LIMIT_SECONDS = 400, 20, 120
PROGRESS = re.compile(rb"\b[1-9]\d*/\d+")


def test_doctests() -> None:
    found = doctest.testmod(interruption)
    assert found.attempted and not found.failed


def deep(folder: Path) -> Path:
    """Write a network whose export takes minutes, and one second for its first layers."""
    rng = np.random.default_rng(0)
    nodes: dict[str, Any] = {"input": Input((WIDTH,))}
    for layer in range(LAYERS):
        nodes |= {f"s{layer}": Dense(rng.normal(0, 0.3, (WIDTH, WIDTH)))}
        nodes |= {f"p{layer}": LIF(np.zeros(WIDTH), np.full(WIDTH, 0.9), np.ones(WIDTH))}
    path = folder / "deep.safetensors"
    pipeline.save(Network(nodes, tuple(Edge(*ends) for ends in pairwise(nodes)), 1e-3, f"p{LAYERS - 1}"), path)
    np.save(folder / "few.npy", (rng.random((4, 32, WIDTH)) < 0.3).astype(np.uint8))
    return path


def interrupted(arguments: list[object], cwd: Path) -> tuple[int, str]:
    """Run a command on a terminal, interrupt it when its progress shows a first unit; exit code and the last line."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        processes.command(*arguments),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=secondary,
        env=processes.environment({"TERM": "xterm"}),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )
    os.close(secondary)
    shown, sent = b"", False
    try:
        while True:
            try:
                part = os.read(primary, 4096)
            except OSError:  # the terminal's last writer is gone
                break
            shown += part
            if not part:
                break
            if not sent and PROGRESS.search(shown):
                process.send_signal(signal.SIGINT)
                sent = True
        code = process.wait(LIMIT_SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(primary)
    assert sent, shown.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return code, plain.strip().splitlines()[-1].rpartition("\r")[2].strip()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["export", "simulate"])
def test_ctrl_c_says_how_far_the_command_came(command: str, tmp_path: Path, digits_model: Model) -> None:
    (tmp_path / "out").mkdir()
    if command == "export":
        given: list[object] = ["export", deep(tmp_path), "--data", tmp_path / "few.npy", "-o", "model.nir"]
        total, unit = f"{2 * LAYERS:,}", "populations"
    else:
        np.savez(tmp_path / "much.npz", inputs=np.ones((400_000, 64, 1), np.uint8))
        given = ["simulate", digits_model.path, "--data", tmp_path / "much.npz", "-o", "recording.h5"]
        total, unit = "400,000", "samples"
    code, line = interrupted(given, tmp_path / "out")
    assert code == 128 + signal.SIGINT, line
    assert re.fullmatch(rf"Interrupted after [\d,]+ of {total} {unit}: nothing was written\.", line), line
    assert list((tmp_path / "out").iterdir()) == []
