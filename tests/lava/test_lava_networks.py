"""Whole networks in Lava against the tests' own simulator: every register, step and sample, bit for bit."""

from __future__ import annotations

from typing import Any

import lava_models as m
import numpy as np
import pytest
from lava_cases import Case, everything
from simulator import simulate

from nmdeploy.backends._lava_worker import LavaJob, run_jobs

pytestmark = pytest.mark.lava
EVERYTHING = everything()


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return EVERYTHING


@pytest.fixture(scope="module")
def recordings(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    jobs = [LavaJob(m.write(folder / f"{name}.nir", model), data, "states") for name, (model, data) in cases.items()]
    progress: list[tuple[int, int]] = []
    results = run_jobs(jobs, timeout=240, on_progress=lambda done, total: progress.append((done, total)))
    assert progress == [(done + 1, len(jobs)) for done in range(len(jobs))]
    return dict(zip(cases, results, strict=True))


@pytest.mark.parametrize("name", EVERYTHING)
def test_equals_simulator(name: str, cases: dict[str, Case], recordings: dict[str, Any]) -> None:
    model, data = cases[name]
    for index, sample in enumerate(data.tolist()):
        expected, _ = simulate(model["nodes"], model["edges"], sample)
        assert set(expected) == set(recordings[name])
        for key, values in expected.items():
            np.testing.assert_array_equal(
                recordings[name][key][index], np.array(values), err_msg=f"{key}, sample {index}"
            )


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name != "single_step"])
def test_networks_are_alive(name: str, recordings: dict[str, Any]) -> None:
    for key, values in recordings[name].items():
        if key.endswith("|spikes"):
            rate = np.count_nonzero(values) / values.size
            assert 0.01 < rate < 0.98, f"{key}: rate {rate:.3f}"


def test_overflows_happen(recordings: dict[str, Any]) -> None:
    for population in ("l0", "l1"):
        assert np.abs(recordings["lif_overflow"][f"{population}|v"]).max() == 2**23 - 1
    states = [np.abs(result["x|re"]).max() for name, result in recordings.items() if name.startswith("state_space")]
    assert 2**11 - 1 in states


def test_current_wraps(cases: dict[str, Case]) -> None:
    model, data = cases["lif_overflow"]
    _, overflows = simulate(model["nodes"], model["edges"], data[0].tolist())
    assert overflows["l0"]["u_wraps"] and overflows["l1"]["u_wraps"]


def test_output_is_int64(recordings: dict[str, Any]) -> None:
    assert all(array.dtype == np.int64 for result in recordings.values() for array in result.values())
