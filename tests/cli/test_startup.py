"""What a command imports decides how fast it answers: modules are counted here, never seconds."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
from shared import CHECKPOINT, Model

from nmdeploy.cli.commands import main

FRAMEWORKS = {"torch", "norse", "snntorch", "nirtorch", "matplotlib", "numba", "sklearn", "scipy", "pandas", "lava"}
ON_TERMINALS = {"rich", "pygments"}
FILES = {"h5py", "nir", "safetensors"}
EVERYTHING = FRAMEWORKS | ON_TERMINALS | FILES | {"numpy", "importlib.metadata"}
NOT_OF_A_RUN = {
    *("nir", "safetensors", "nmdeploy.checking", "nmdeploy.importers", "nmdeploy.hardware.profile"),
    *("nmdeploy.quantization.post_training", "nmdeploy.quantization.effects", "nmdeploy.analysis.report"),
    "nmdeploy.analysis.diagnosis",
}
PROGRAM = """
import json, sys
from nmdeploy.cli.commands import main
try:
    main(sys.argv[1:])
finally:
    sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def imported(folder: Path, *arguments: object) -> set[str]:
    """Modules that a command leaves behind."""
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    return set(json.loads(outcome.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("line", "without"),
    [
        ("--help", EVERYTHING | {"nmdeploy.pipeline", "nmdeploy.hardware.profile", "tomllib"}),
        ("--version", EVERYTHING),
        ("simulate --help", EVERYTHING),
        ("profiles", EVERYTHING | {"nmdeploy.pipeline"}),
        ("profiles loihi2", EVERYTHING | {"nmdeploy.pipeline"}),
        ("models", FRAMEWORKS | ON_TERMINALS | FILES | {"nmdeploy.pipeline", "importlib.metadata"}),
        ("models binary-s4d --json", FRAMEWORKS | ON_TERMINALS | FILES | {"nmdeploy.pipeline", "importlib.metadata"}),
        (
            "inspect MODEL",
            FRAMEWORKS | ON_TERMINALS | {"nir", "safetensors", "nmdeploy.pipeline", "importlib.metadata"},
        ),
        ("inspect CHECKPOINT", FRAMEWORKS | ON_TERMINALS | {"nir", "nmdeploy.pipeline"}),
        ("check MODEL", FRAMEWORKS | ON_TERMINALS | {"nir"}),
        ("check CHECKPOINT", FRAMEWORKS | ON_TERMINALS | {"nir"}),
        ("export CHECKPOINT --data DATA -o out.nir", FRAMEWORKS | ON_TERMINALS),
        ("simulate MODEL --data DATA --trace states -o out.h5", FRAMEWORKS | ON_TERMINALS | NOT_OF_A_RUN),
        ("report MODEL --data DATA", FRAMEWORKS | {"nir", "safetensors"}),
        ("report MODEL --data DATA -o out.json", FRAMEWORKS | ON_TERMINALS | {"nir", "safetensors"}),
    ],
)
def test_imports_only_what_it_needs(line: str, without: set[str], digits_model: Model, tmp_path: Path) -> None:
    places = {"MODEL": digits_model.path, "DATA": digits_model.data, "CHECKPOINT": CHECKPOINT}
    found = imported(tmp_path, *(places.get(word, word) for word in line.split()))
    assert found & without == set()


def test_import_of_the_package_costs_nothing() -> None:
    program = "import sys, nmdeploy; sys.exit(any(name in sys.modules for name in sys.argv[1:]))"
    heavy = [*EVERYTHING, "click", "nmdeploy.pipeline"]
    assert subprocess.run([sys.executable, "-c", program, *heavy], check=False).returncode == 0


def test_a_command_leaves_the_search_for_cycles_as_it_was() -> None:
    before = gc.get_threshold()
    with pytest.raises(SystemExit):
        main(["--version"])
    assert gc.get_threshold() == before
