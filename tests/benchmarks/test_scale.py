"""The table of every stage at full size: what it runs, prints and keeps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scale
from nmdeploy.pipeline.target import profile_of

TINY = scale.Row(lambda: scale.calibration.network(2, 8, 2), scale.calibration.CHANNELS, 20, 2 * 8 * 6)


@pytest.mark.slow
def test_every_stage_of_a_small_network_ends_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scale, "ROWS", {"tiny": TINY})
    monkeypatch.setattr(scale, "LAVA_SECONDS", 0)
    found = scale.measure("tiny", tmp_path)
    assert found.keys() == scale.stages(TINY, tmp_path).keys() and "verify 1, Lava" not in found
    assert all(each["code"] == 0 and each["seconds"] > 0 and each["megabytes"] > 20 for each in found.values()), found


def test_lava_verifies_where_it_takes_minutes() -> None:
    assert "verify 1, Lava" in scale.stages(scale.ROWS["state-space 3x64x8"], Path("f"))
    assert "verify 1, Lava" not in scale.stages(scale.ROWS["state-space 6x512x64"], Path("f"))


def test_networks_have_the_sizes_that_their_names_say() -> None:
    wide, deep = (scale.ROWS[f"LIF 100,000 {form}"].make for form in ("wide", "deep"))
    assert sum(neuron.size for neuron in wide().populations.values()) == 100_010
    assert sum(neuron.size for neuron in deep().populations.values()) == 100_000


def test_a_deep_network_has_a_profile_with_a_core_per_layer(tmp_path: Path) -> None:
    row = scale.ROWS["LIF 100,000 deep"]
    assert row.tiles is not None
    (tmp_path / "large.toml").write_text(scale.profile_of(*row.tiles), "utf-8")
    profile = profile_of(tmp_path / "large.toml")
    assert (profile.chip.usable_cores.value or 0) >= len(row.make().populations)
    given = scale.stages(row, tmp_path)
    assert all(given[name][-1] == str(tmp_path / "large.toml") for name in ("check", "export", "report"))
    assert "--profile" not in scale.stages(TINY, tmp_path)["export"]


def test_a_measured_row_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    measured: list[str] = []

    def measure(name: str, folder: Path) -> dict[str, Any]:
        measured.append(name)
        return {"check": {"seconds": 1.25, "megabytes": 80.0, "code": 0}, "export": {"seconds": 9.0, "code": -1}}

    monkeypatch.setattr(scale, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["scale", "--out", str(tmp_path), "--rows", "LIF 1,000"])
    assert scale.main() == scale.main() == 1 and measured == ["LIF 1,000"]
    assert json.loads((tmp_path / "results.json").read_text("utf-8")).keys() == {"LIF 1,000"}
    shown = capsys.readouterr().out
    assert "1.25 s, 80 MB" in shown and "over 1800 s" in shown


def test_a_stage_that_fails_says_its_exit_code() -> None:
    assert scale._words({"seconds": 2.0, "megabytes": 50.0, "code": 2}) == "exit code 2 after 2 s, 50 MB"
