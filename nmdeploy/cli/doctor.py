"""The list of what is installed, and of what each missing part is needed for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from nmdeploy import __version__

PARTS = {
    "numpy": "everything",
    "h5py": "models and recordings",
    "nir": "models",
    "llvmlite": "the compiled backend",
    "safetensors": "checkpoints",
    "uv": "Lava, on any Python but 3.10",
    "onnxruntime": "faster products of dense input (pip install onnxruntime)",
    "torch": "training, modules of frameworks and .pt files (pip install '.[train]')",
    "scikit-learn": "examples (pip install '.[train]')",
}


def findings() -> Iterator[str]:
    """Yield one line per part: its version, or what it is needed for."""
    yield f"nmdeploy {__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name, purpose in PARTS.items():
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: not installed; needed for {purpose}"
    yield lava_line()


def lava_line() -> str:
    """Return the line on Lava: that it can run here, or what to install."""
    from nmdeploy.backends._lava_worker import available

    reason = available()
    return f"Lava: cannot run: {reason}" if reason else "Lava: no obstacle found (nothing was started or downloaded)"
