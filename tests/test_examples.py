"""The example trains, and what the package ships is what it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nmdeploy import demo, pipeline

EXAMPLE = Path(__file__).parent.parent / "examples" / "train_digits.py"


@pytest.mark.slow
def test_training_writes_a_checkpoint_and_the_data_that_ship(tmp_path: Path) -> None:
    out = str(tmp_path / demo.CHECKPOINT.name)
    command = [sys.executable, str(EXAMPLE), "--epochs", "1", "--channels", "16", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    network = pipeline.load(tmp_path / demo.CHECKPOINT.name)
    assert network.input == pipeline.load(demo.CHECKPOINT).input
    for shipped in (demo.TEST, demo.CALIBRATION):
        with np.load(shipped) as wanted, np.load(tmp_path / shipped.name) as found:
            assert set(wanted.files) == set(found.files)
            for name in wanted.files:
                np.testing.assert_array_equal(found[name], wanted[name])
    with np.load(demo.TEST) as test, np.load(demo.CALIBRATION) as calibration:
        assert len(test["inputs"]) == 450
        seen = {sample.tobytes() for sample in test["inputs"]}
        assert not any(sample.tobytes() in seen for sample in calibration["inputs"])
