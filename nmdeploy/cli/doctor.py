"""What is installed here, and what each missing part would be needed for."""

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
    "torch": "training (pip install 'nmdeploy[train]')",
    "scikit-learn": "examples (pip install 'nmdeploy[train]')",
}


def findings() -> Iterator[str]:
    """One line for each part: version, or what its absence means."""
    yield f"nmdeploy {__version__}, Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    for name, purpose in PARTS.items():
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: not installed; needed for {purpose}"
    yield lava_line()


def lava_line() -> str:
    """Whether verification against Lava can run here, and what to install if not."""
    from nmdeploy.backends._lava_worker import available

    reason = available()
    return (
        f"Lava: cannot run: {reason}" if reason else "Lava: nothing stands against it (nothing was started or fetched)"
    )
