"""Hardware profiles: what every shipped one must hold, the published figures, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from nmdeploy._util.digests import content_sha256
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.hardware import profile_toml as profiles
from nmdeploy.hardware.profile import HardwareProfile
from nmdeploy.hardware.profile_toml import KINDS, load_profile, profile_names
from nmdeploy.neurons.base import QuantizationConfig

EVENTS = {
    "synaptic_operation": 23.6e-12,
    "neuron_update_active": 81e-12,
    "neuron_update_inactive": 52e-12,
    "spike_within_tile": 1.7e-12,
    "hop_east_west": 3.0e-12,
    "hop_north_south": 4.0e-12,
}


@pytest.fixture(params=profile_names())
def profile(request: pytest.FixtureRequest) -> HardwareProfile:
    """Every profile that is installed."""
    return load_profile(request.param)


# What every profile must hold.


def test_figures_have_sources_and_kinds(profile: HardwareProfile) -> None:
    for table, key, figure in profile.figures():
        assert len(figure.citation.strip()) > 10, (table, key)
        assert figure.kind in KINDS, (table, key)


def test_figures_list_every_table(profile: HardwareProfile) -> None:
    assert list(dict.fromkeys(table for table, _, _ in profile.figures())) == [f.name for f in fields(profile)[3:]]


def test_energies_say_how_they_came_about(profile: HardwareProfile) -> None:
    for name, figure in profile.energy.events.items():
        if figure.value is not None:
            assert figure.value > 0, f"{name}: an unpublished energy is not 0"
            assert figure.kind in ("simulated", "measured", "derived")


def test_name_is_the_file(profile: HardwareProfile) -> None:
    assert Path(profile.path).stem == profile.name
    assert load_profile(profile.path) == profile


def test_cores_fit_the_interconnect(profile: HardwareProfile) -> None:
    chip = profile.chip
    assert 1 <= chip.usable_cores.required_value <= chip.cores.required_value <= profile.interconnect.capacity


def test_default_formats(profile: HardwareProfile) -> None:
    rules = profile.arithmetic
    config = profile.quantization_config()
    assert isinstance(config, QuantizationConfig)
    for name in ("weight_bits", "state_bits", "coefficient_bits", "coefficient_frac", "state_rounding", "sign_modes"):
        assert getattr(config, name) == getattr(rules, name).value


@pytest.mark.parametrize("name", ["weight_bits", "state_bits", "coefficient_bits"])
def test_widths_at_their_ends(profile: HardwareProfile, name: str) -> None:
    figure = getattr(profile.arithmetic, name)
    for value in (figure.low, figure.high):
        assert getattr(profile.quantization_config(**{name: value}), name) == value
    for value in (figure.low - 1, figure.high + 1, 0, 33, -1, True):
        if not figure.low <= value <= figure.high or value is True:
            with pytest.raises(BadOption, match=rf"{name} = {value} .*--{name.replace('_', '-')} .*{figure.high}"):
                profile.quantization_config(**{name: value})


def test_narrow_coefficients_keep_the_range(profile: HardwareProfile) -> None:
    assert profile.quantization_config(coefficient_bits=8).coefficient_frac == 6
    assert profile.quantization_config(coefficient_bits=8, coefficient_frac=7).coefficient_frac == 7
    with pytest.raises(BadOption, match="--coefficient-frac 0 to 7"):
        profile.quantization_config(coefficient_bits=8, coefficient_frac=8)
    with pytest.raises(BadOption, match="coefficient_frac = -1"):
        profile.quantization_config(coefficient_frac=-1)


def test_rounding_rules(profile: HardwareProfile) -> None:
    for rule in profile.arithmetic.state_rounding.choices:
        assert profile.quantization_config(state_rounding=rule).state_rounding == rule
    with pytest.raises(BadOption, match="'nearest' is not among per-product"):
        profile.quantization_config(state_rounding="nearest")


def test_runs_lif(profile: HardwareProfile) -> None:
    assert "lif" in profile.neurons


# What Intel published.


def test_shipped_profiles() -> None:
    assert {"loihi1", "loihi2"} <= set(profile_names())


def test_loihi1_energies() -> None:
    energy = load_profile("loihi1").energy.events
    for name, value in EVENTS.items():
        figure = energy[name]
        assert (figure.value, figure.kind, figure.voltage, figure.unit) == (value, "simulated", 0.75, "J")
        assert "Davies et al., IEEE Micro 38(1), 2018, table 2" in figure.citation


def test_loihi2_energies_are_derived() -> None:
    energy = load_profile("loihi2").energy.events
    for name, value in EVENTS.items():
        figure = energy[name]
        assert (figure.value, figure.kind) == (value, "derived")
        assert "Intel has published no energy per operation for Loihi 2" in figure.citation


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_static_power_is_not_available(name: str) -> None:
    assert load_profile(name).energy.events["static_power_per_core"].value is None


def test_loihi1_limits() -> None:
    profile = load_profile("loihi1")
    core = profile.core
    assert (core.neurons.value, core.input_axons.value, core.output_axons.value) == (1024, 4096, 4096)
    assert core.synapse_bits.value == 16384 * 64
    assert profile.chip.usable_cores.value == 128
    assert profile.arithmetic.graded_payload_bits.value == 0
    assert "state_space" not in profile.neurons


def test_loihi2_limits() -> None:
    profile = load_profile("loihi2")
    assert (profile.core.neurons.value, profile.core.memory_bits.value) == (8192, 192 * 1024 * 8)
    assert (profile.chip.cores.value, profile.chip.usable_cores.value) == (128, 120)
    assert profile.core.input_axons.value is None
    assert profile.arithmetic.graded_payload_bits.value == 24
    assert {"lif", "state_space", "integrator"} <= set(profile.neurons)


# What is refused.


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = Path(load_profile("loihi1").path).read_text("utf-8")
    assert text.count(old) >= 1, old
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('neurons = { value = 1024, source = "', 'neurons = { value = "1024", source = "', r"\[core\] neurons: .*type"),
        ("neurons = { value = 1024,", "neurons = { value = true,", r"\[core\] neurons: .*type"),
        ("neurons = { value = 1024,", "neurons = { value = 1024.0,", r"\[core\] neurons: .*type: give int"),
        ("neurons = { value = 1024,", "neurons = { value = 0,", r"\[core\] neurons = 0"),
        ("neurons = { value = 1024,", "neurons = { value = -1,", r"\[core\] neurons: .*0 or more"),
        ("neurons = { value = 1024,", 'neurons = { value = "unpublished",', r"\[core\] neurons: cannot be unpublished"),
        ("neurons = { value = 1024,", "neurons = { valu = 1024,", r"\[core\] neurons: key 'valu' is unknown"),
        ("neurons = { value = 1024,", "neuron = { value = 1024,", r"\[core\]: key 'neuron' is unknown: remove it"),
        ("input_axons = { value = 4096, source", "# ", r"\[core\]: lacks 'input_axons': add it"),
        ("[timing]", "[time]", "key 'time' is unknown"),
        ("cores = { value = 128, source", "cores = 128 # ", r"\[chip\] cores: is 128 without a source"),
        (
            "cores = { value = 128, source",
            "cores = { value = 500, source",
            "cores = 500 exceeds the 128 places of the mesh",
        ),
        ("usable_cores = { value = 128,", "usable_cores = { value = 129,", "usable_cores = 129 exceeds cores = 128"),
        ('kind = "simulated"', 'kind = "guessed"', r"\[energy\] synaptic_operation: kind = 'guessed' is unknown"),
        ('voltage = 0.75, kind = "simulated"', "voltage = 0.75", r"synaptic_operation: kind = '' is unknown"),
        ('unit = "J"', 'unit = "pJ"', r"synaptic_operation: unit = 'pJ': give 'J'"),
        ("voltage = 0.75", 'voltage = "0.75"', r"synaptic_operation: voltage = '0.75'"),
        ("value = 23.6e-12", "value = -23.6e-12", r"synaptic_operation: .*0 or more"),
        ("value = 23.6e-12", "value = nan", r"synaptic_operation: .*out of range"),
        ("weight_bits = { value = 8, min = 1,", "weight_bits = { value = 8,", r"weight_bits: lacks 'min'"),
        ("weight_bits = { value = 8,", "weight_bits = { value = 9,", r"value = 9 is outside min 1 to max 8"),
        ("weight_exp_min = { value = -8", "weight_exp_min = { value = 8", "weight_exp_min exceeds weight_exp_max"),
        ('sign_modes = { value = ["mixed", ', "sign_modes = { value = [1, ", r"sign_modes: .*list of texts"),
        ('value = "per-product"', 'value = "nearest"', r"'nearest' is unknown: give one of per-product, per-sum"),
        ('value = "per-product"', 'value = "per-sum"', r"'per-sum' is not among its choices"),
        (
            'choices = ["per-product"]',
            'choices = ["per-product", "exact"]',
            r"choices: 'exact' is unknown: give one of",
        ),
        ('["mixed", "excitatory"', '["mixed", "positive"', r"sign_modes: 'positive' is unknown: .*mixed, excitatory"),
        ('topology = { value = "mesh"', 'topology = { value = "star"', r"topology: 'star' is unknown: .*mesh, ring"),
        ('topology = { value = "mesh"', 'topology = { value = "ring"', r"\[interconnect\]: key 'columns' is unknown"),
        ("columns = { value = 8,", "columns = { value = 0,", r"\[interconnect\] columns = 0 holds nothing"),
        ("\nrows = { value = 4,", "\n# ", r"\[interconnect\]: lacks 'rows': add it"),
        (
            "\nhop_east_west = { value = 3.0e-12",
            "\nhop_up = { value = 3.0e-12",
            r"\[energy\]: event 'hop_up' is unknown: .*one of synaptic_operation, .*hop_east_west",
        ),
        (
            "\nhop_east_west = { value = 4.1e-9",
            "\nhop_up = { value = 4.1e-9",
            r"\[timing\]: event 'hop_up' is unknown: .*hop_east_west, .*barrier_all_tiles",
        ),
        ("\nstates_per_update = ", "\n# ", r"\[energy\]: lacks 'states_per_update'"),
        ("[interconnect]", "[network]", "key 'network' is unknown"),
        ("[energy]\n", "[arithmetics]\n", "key 'arithmetics' is unknown"),
        ('title = "Intel Loihi"', "title = 1", "title is not text"),
        ('title = "Intel Loihi"', "", "lacks 'title'"),
    ],
)
def test_strict(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = changed(tmp_path, old, new)
    with pytest.raises(BadOption, match=said) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["state_overflow", "lif_rule", "sigmoid"])
def test_switches_that_had_one_value_are_refused_by_name(tmp_path: Path, key: str) -> None:
    line = f'[arithmetic]\n{key} = {{ value = "x", choices = ["x"], source = "an older profile" }}\n'
    with pytest.raises(BadOption, match=rf"mine\.toml: \[arithmetic\]: key '{key}' is unknown: remove it"):
        load_profile(changed(tmp_path, "[arithmetic]\n", line))


def test_keys_of_the_mesh_in_the_chip_are_refused_by_name(tmp_path: Path) -> None:
    line = '[chip]\nmesh_rows = { value = 4, source = "an older profile" }\n'
    with pytest.raises(BadOption, match=r"\[chip\]: key 'mesh_rows' is unknown: remove it, or use one of cores"):
        load_profile(changed(tmp_path, "[chip]\n", line))


def test_a_profile_without_an_interconnect(tmp_path: Path) -> None:
    text = Path(load_profile("loihi1").path).read_text("utf-8")
    start, end = text.index("[interconnect]"), text.index("# Table 2")
    (tmp_path / "mine.toml").write_text(text[:start] + text[end:], "utf-8")
    with pytest.raises(BadOption, match=r"has no table interconnect: write \[interconnect\]"):
        load_profile(tmp_path / "mine.toml")


def test_the_place_of_the_file_is_no_part_of_its_content(tmp_path: Path) -> None:
    """The digest of a job is the same in every checkout."""
    mine = tmp_path / "loihi1.toml"
    mine.write_text(Path(load_profile("loihi1").path).read_text("utf-8"), "utf-8")
    assert load_profile(mine) == load_profile("loihi1")
    assert content_sha256(load_profile(mine)) == content_sha256(load_profile("loihi1"))


def test_empty_source(tmp_path: Path) -> None:
    path = changed(tmp_path, 'source = "Davies et al., IEEE Micro 38(1), 2018, p. 89, constraint 1"', 'source = " "')
    with pytest.raises(BadOption, match=r"\[core\] neurons: source is empty"):
        load_profile(path)


def test_unpublished_is_none(tmp_path: Path) -> None:
    path = changed(tmp_path, 'synaptic_operation = { value = 23.6e-12, unit = "J", voltage = 0.75, kind = "simulated",',
                   'synaptic_operation = { value = "unpublished",')  # fmt: skip
    assert load_profile(path).energy.events["synaptic_operation"].value is None


def test_no_such_profile() -> None:
    with pytest.raises(BadOption, match=r"'loihi3' does not exist: choose one of .*loihi1, loihi2"):
        load_profile("loihi3")


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"gone\.toml: cannot be read .*check the path"):
        load_profile(tmp_path / "gone.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[core\n")
    with pytest.raises(BadFile, match=r"broken\.toml: is no TOML"):
        load_profile(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match=r"broken\.toml: is no TOML"):
        load_profile(broken)


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = changed(tmp_path, 'title = "Intel Loihi"', 'title = "Mine"')
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{profiles.GROUP}]\nmine = mine_profile\n")
    (tmp_path / "mine_profile.py").write_text(f"PATH = {str(path)!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    profiles._paths.cache_clear()
    try:
        assert "mine" in profile_names()
        assert load_profile("mine").title == "Mine"
    finally:
        profiles._paths.cache_clear()


def test_imports_no_numpy() -> None:
    program = (
        "import sys; from nmdeploy.hardware.profile_toml import load_profile, profile_names\n"
        "for name in profile_names(): load_profile(name)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
