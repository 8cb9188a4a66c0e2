"""The examples of docs/lava.md run as they stand, and give what the reference gives."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
from shared import CALIBRATION, CHECKPOINT, TEST

from nmdeploy import pipeline
from nmdeploy.backends._lava_worker import run_python, workspace
from nmdeploy.cli import demo

PAGE = Path(__file__).parent.parent.parent / "docs" / "lava.md"


def test_the_page_is_right(tmp_path: Path) -> None:
    network = pipeline.load(CHECKPOINT)
    data = pipeline.load_data(TEST, network.input).first(1)
    model = pipeline.quantize(network, demo.PROFILE, pipeline.load_data(CALIBRATION, network.input))
    pipeline.write(model, tmp_path / "model.nir")
    np.save(tmp_path / "inputs.npy", data.codes[0])
    examples = re.findall(r"```python[^\n]*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    # Lava's processes import the script again: it needs a main guard once it is a file.
    body = "".join(f"    {line}\n" if line else "\n" for line in "".join(examples).splitlines())
    with workspace() as folder:
        (folder / "example.py").write_text(
            f'print(\'{{"ready": true}}\', flush=True)\nif __name__ == "__main__":\n{body}', encoding="utf-8"
        )
        for name in ("model.nir", "inputs.npy"):
            shutil.copy(tmp_path / name, folder / name)
        run_python(["example.py"], folder, timeout=120, on_message=lambda message: None)
        found = np.load(folder / "readout.npy")
    np.testing.assert_array_equal(found, pipeline.run(model, data).output[0])
