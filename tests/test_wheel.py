"""The built wheel, in an empty environment with the base dependencies only, runs the demo."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import processes
import pytest

ROOT = Path(__file__).parent.parent
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
pytestmark = pytest.mark.slow


def call(*arguments: object, cwd: Path) -> str:
    outcome = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=processes.environment({"PYTHONPATH": None}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("nmdeploy-*.whl")
    return built


def test_holds_what_it_needs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for profile in (ROOT / "hw_profiles").glob("*.toml"):
        assert f"nmdeploy/hw_profiles/{profile.name}" in names
    for data in ("digits.safetensors", "digits.npz", "digits_calibration.npz"):
        assert f"nmdeploy/examples/{data}" in names
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "nmdeploy").rglob("*.py")}
    assert sources <= names
    assert "nmdeploy/py.typed" in names
    assert all(name.startswith(("nmdeploy/", "nmdeploy-")) for name in names)
    assert not [name for name in names if "__pycache__" in name or "test" in Path(name).name]


def test_demo_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    call(sys.executable, "-m", "venv", "env", cwd=tmp_path)
    python, nmdeploy = tmp_path / "env" / "bin" / "python", tmp_path / "env" / "bin" / "nmdeploy"
    call(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    listing = "from importlib.metadata import distributions; print(*(found.name.lower() for found in distributions()))"
    installed = set(call(python, "-c", listing, cwd=tmp_path).split())
    assert "nmdeploy" in installed
    assert not installed & {"torch", "scikit-learn", "scipy", "norse", "snntorch", "matplotlib", "pytest"}
    empty = tmp_path / "empty"
    empty.mkdir()
    shown = call(nmdeploy, "demo", "-o", "out", "--samples", 1, cwd=empty)
    assert {path.name for path in (empty / "out").iterdir()} == {
        "model.nir",
        "recording.h5",
        "verify.json",
        "report.json",
        "report.md",
    }
    assert "loat network: 0.98" in shown
    assert [line.split()[0] for line in call(nmdeploy, "profiles", cwd=empty).splitlines()] == ["loihi1", "loihi2"]
    where = call(python, "-c", "import nmdeploy; print(nmdeploy.__file__)", cwd=empty)
    assert Path(where.strip()).is_relative_to(tmp_path / "env")
