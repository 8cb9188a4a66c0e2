"""What several test files share: the command line, and small models with data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from click.testing import CliRunner, Result
from figures import KEY, Figures
from networks import lif_case
from shared import CALIBRATION, CHECKPOINT, Cli, Model

from nmdeploy import pipeline
from nmdeploy.cli.commands import main


@pytest.fixture
def cli() -> Cli:
    """Runs a command in this process; any exception but an exit is raised."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def lif_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random LIF network of a few neurons, and ten samples for it."""
    folder = tmp_path_factory.mktemp("lif")
    case = lif_case(3)
    pipeline.write(case.network, folder / "lif.nir")
    inputs = np.repeat(case.inputs[:, :20], 10, 0)
    np.savez(folder / "lif.npz", inputs=inputs, labels=np.zeros(10, np.int64))
    return Model(folder / "lif.nir", folder / "lif.npz")


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The demo's model, and its first six calibration samples."""
    folder = tmp_path_factory.mktemp("digits")
    floats = pipeline.load(CHECKPOINT)
    calibration = pipeline.load_data(CALIBRATION, floats.input)
    pipeline.write(pipeline.quantize(floats, "loihi2", calibration), folder / "digits.nir")
    with np.load(CALIBRATION) as arrays:
        np.savez(folder / "digits.npz", **{name: values[:6] for name, values in arrays.items()})
    return Model(folder / "digits.nir", folder / "digits.npz")


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """Takes lines that the end of the run shows."""
    return lambda line: record_property(KEY, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures of all tests; the worker that ran a test sends them along."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = [str(value) for r in reports for key, value in getattr(r, "user_properties", []) if key == KEY]
    if lines:
        terminalreporter.section("figures")
        for line in dict.fromkeys(lines):
            terminalreporter.write_line(line)
