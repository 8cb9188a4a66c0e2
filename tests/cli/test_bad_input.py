"""Bad input at the command line: exit code 2, one line that names file and remedy, no traceback, nothing written."""

from __future__ import annotations

import itertools
import os
import pickle
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import processes
import pytest
from shared import CALIBRATION, CHECKPOINT, ROOT, Cli, Model

from nmdeploy import pipeline
from nmdeploy.recording.reader import write_recording
from nmdeploy.samples.source import Data

CORPUS = os.environ.get("NMDEPLOY_CORPUS")
LOIHI2 = ROOT / "hw_profiles" / "loihi2.toml"
Refused = Callable[..., str]


@pytest.fixture
def refused(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Runs a command in an otherwise empty folder that must refuse it; returns its one line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, words: tuple[str, ...] = ()) -> str:
        before = processes.files(tmp_path)
        outcome = cli(*arguments)
        assert outcome.exit_code == 2, outcome.output
        assert outcome.stdout == ""
        assert outcome.stderr.startswith("Error: ") and outcome.stderr.count("\n") == 1, outcome.stderr
        assert [word for word in words if word not in outcome.stderr] == [], outcome.stderr
        assert processes.files(tmp_path) == before
        return outcome.stderr

    return run


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Every command that reads a file of each kind, FILE standing for it.
READS_MODEL = (
    "simulate FILE --data DATA -o out.h5",
    "verify FILE --data DATA",
    "report FILE --data DATA",
    "report FILE --data DATA -o out.md",
    "inspect FILE",
    "check FILE",
)
READS_CHECKPOINT = (
    "export FILE -o out.nir",
    "verify MODEL --data DATA --checkpoint FILE",
    "inspect FILE",
    "check FILE",
)
READS_DATA = (
    "export CHECKPOINT --data FILE -o out.nir",
    "simulate MODEL --data FILE -o out.h5",
    "verify MODEL --data FILE",
    "report MODEL --data FILE",
)
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all but one byte": lambda content: content[:-1],
    "flipped at the start": lambda content: flipped(content, 3),
    "flipped in the middle": lambda content: flipped(content, 4 * len(content)),
    "flipped at the end": lambda content: flipped(content, 8 * len(content) - 1),
    "text": lambda content: b"no such format\n" * 99,
}


def filled(line: str, model: Model, file: object) -> list[str]:
    places = {"FILE": file, "MODEL": model.path, "DATA": model.data, "CHECKPOINT": CHECKPOINT}
    return [str(places.get(word, word)) for word in line.split()]


@pytest.mark.parametrize("line", [*READS_MODEL, *READS_CHECKPOINT, *READS_DATA])
def test_missing_file_or_folder(line: str, refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    suffix = ".npz" if line in READS_DATA else ".safetensors" if line in READS_CHECKPOINT else ".nir"
    refused(*filled(line, digits_model, f"gone{suffix}"), words=(f"gone{suffix}", "check the path"))
    (tmp_path / f"folder{suffix}").mkdir()
    refused(*filled(line, digits_model, f"folder{suffix}"), words=(f"folder{suffix}", "is a folder"))


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("line", READS_MODEL)
def test_broken_model(line: str, broken: str, refused: Refused, lif_model: Model, tmp_path: Path) -> None:
    (tmp_path / "bad.nir").write_bytes(BROKEN[broken](lif_model.path.read_bytes()))
    refused(*filled(line, lif_model, "bad.nir"), words=("bad.nir",))


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("line", READS_CHECKPOINT)
def test_broken_checkpoint(line: str, broken: str, refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(BROKEN[broken](CHECKPOINT.read_bytes()))
    refused(*filled(line, digits_model, "bad.safetensors"), words=("bad.safetensors",))


@pytest.mark.parametrize("broken", ["empty", "one byte", "half", "all but one byte", "flipped at the start", "text"])
@pytest.mark.parametrize("line", READS_DATA)
def test_broken_data(line: str, broken: str, refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(BROKEN[broken](digits_model.data.read_bytes()))
    refused(*filled(line, digits_model, "bad.npz"), words=("bad.npz",))


@pytest.mark.parametrize("kind", ["model", "checkpoint"])
def test_flips_at_many_places(kind: str, refused: Refused, lif_model: Model, tmp_path: Path) -> None:
    path = lif_model.path if kind == "model" else CHECKPOINT
    content, bad = path.read_bytes(), tmp_path / f"bad{path.suffix}"
    for bit in np.random.default_rng(0).integers(0, 8 * len(content), 100):
        bad.write_bytes(flipped(content, int(bit)))
        refused("inspect", bad, words=(bad.name,))


def accepted_or_refused(cli: Cli, *arguments: object) -> None:
    outcome = cli(*arguments)
    assert outcome.exit_code in (0, 1, 2)
    if outcome.exit_code == 2:
        assert outcome.stderr.startswith("Error: ") and outcome.stderr.count("\n") == 1
        assert "bad.nir" in outcome.stderr


@pytest.mark.skipif(CORPUS is None, reason="NMDEPLOY_CORPUS names no corpus")
@pytest.mark.parametrize("name", ["lif_norse.nir", "braille_noDelay_bias_zero.nir"])
@pytest.mark.parametrize("stride", [601, pytest.param(61, marks=pytest.mark.slow)])
def test_flips_in_a_foreign_nir_file(name: str, stride: int, cli: Cli, tmp_path: Path) -> None:
    content, bad = (Path(str(CORPUS)) / name).read_bytes(), tmp_path / "bad.nir"
    header = list(range(0, 8 * min(len(content), 2048), stride))
    for bit in [*header, *np.random.default_rng(0).integers(0, 8 * len(content), 9000 // stride)]:
        bad.write_bytes(flipped(content, int(bit)))
        accepted_or_refused(cli, "check", bad, "--dt", "1e-4")
        accepted_or_refused(cli, "inspect", bad)


@pytest.mark.skipif(CORPUS is None, reason="NMDEPLOY_CORPUS names no corpus")
def test_a_damaged_text_does_not_hold_up_hdf5(refused: Refused, tmp_path: Path) -> None:
    """This flip makes libhdf5 2.0.0 walk the heap of texts for ever."""
    content = (Path(str(CORPUS)) / "lif_norse.nir").read_bytes()
    (tmp_path / "bad.nir").write_bytes(flipped(content, 17483))
    refused("inspect", "bad.nir", words=("bad.nir", "damaged"))


EXTREMES = (5e-324, 1e-310, 1e-40, 1e38, 1.7e308, -1e300, np.nan, np.inf)


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("value", EXTREMES)
def test_extreme_numbers_in_a_foreign_nir_file(value: float, everywhere: bool, cli: Cli, tmp_path: Path) -> None:
    """No warning and no traceback."""
    ones = np.ones(3)
    fields: dict[tuple[str, str], Any] = {
        ("affine", "weight"): np.ones((3, 2)),
        ("affine", "bias"): np.zeros(3),
        **{("lif", key): ones.copy() for key in ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "w_in")},
    }
    for node, key in fields:
        changed = fields[node, key].copy()
        changed[... if everywhere else 0] = value
        values = {**fields, (node, key): changed}
        weight, bias = values["affine", "weight"], values["affine", "bias"]
        lif = nir.CubaLIF(**{name: array for (kind, name), array in values.items() if kind == "lif"})
        nodes = {"input": nir.Input(np.array([2])), "affine": nir.Affine(weight, bias), "lif": lif}
        nodes["output"] = nir.Output(np.array([3]))
        nir.write(tmp_path / "bad.nir", nir.NIRGraph(nodes, list(itertools.pairwise(nodes))))
        accepted_or_refused(cli, "check", tmp_path / "bad.nir", "--dt", "1e-4")
        accepted_or_refused(cli, "export", tmp_path / "bad.nir", "--dt", "1e-4", "-o", tmp_path / "out.nir")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def test_a_pickle_is_never_loaded(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"config": "{}", "sha256": "", "state_dict": {"w": Evil()}}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    np.savez(tmp_path / "evil.npz", inputs=np.array([[Evil()]], object), allow_pickle=True)
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Evil()))
    np.save(tmp_path / "array.npy", np.array([Evil()], object), allow_pickle=True)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("evil.pt", "plain.pt"):
        for line in READS_CHECKPOINT:
            refused(*filled(line, digits_model, name), words=(name,))
    for name in ("evil.npz", "plain.npz", "array.npz"):
        for line in READS_DATA:
            refused(*filled(line, digits_model, name), words=(name, "never loaded"))
    assert not (tmp_path / "unpickled").exists()


GOOD = np.zeros((3, 5, 1), np.int64)
BAD_DATA: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no inputs": ({"x": GOOD, "y": GOOD}, ("no array 'inputs' or 'codes', only 'x', 'y'", "(samples, steps, 1)")),
    "channels": ({"inputs": np.zeros((3, 5, 2), int)}, ("(3, 5, 2)", "check the number of channels")),
    "flat": ({"inputs": np.zeros((3, 5), int)}, ("(3, 5)", "(samples, steps, 1)", "add an axis for channels")),
    "no axis of samples": ({"inputs": np.zeros((5, 1), int)}, ("(5, 1)", "add an axis for samples")),
    "too many axes": ({"inputs": np.zeros((3, 5, 2, 1), int)}, ("(3, 5, 2, 1)", "number of axes, which is 4")),
    "vector": ({"inputs": np.zeros(3, int)}, ("(3,)",)),
    "scalar": ({"inputs": np.int64(3)}, ("()",)),
    "NaN": ({"inputs": GOOD + np.nan}, ("holds nan in sample 0, step 0, channel 0", "replace")),
    "infinite": ({"inputs": GOOD - np.inf}, ("holds -inf in sample 0", "infinite")),
    "negative": ({"inputs": GOOD - 1}, ("holds -1 ", "values are 0 to 1.9375 in steps of 0.0625: rescale")),
    "negative float": ({"inputs": GOOD - 0.5}, ("holds -0.5", "values are 0 to 1.9375 in steps of 0.0625: rescale")),
    "too large": ({"inputs": GOOD + 32}, ("holds 32 ", "0 to 1.9375")),
    "too large float": ({"inputs": GOOD + 2.0}, ("holds 2.0", "0 to 1.9375")),
    "huge": ({"inputs": GOOD.astype(np.uint64) + 2**63}, ("holds 9223372036854775808", "0 to 1.9375")),
    "huge float": ({"inputs": GOOD + 1e300}, ("1e+300",)),
    "one too large": ({"inputs": GOOD + np.eye(3, 5, -1)[..., None] * 37}, ("37.0 in sample 1, step 0, channel 0",)),
    "many digits": ({"inputs": GOOD + np.float32(1.97000002)}, ("holds 1.970000",)),
    "complex": ({"inputs": GOOD + 1j}, ("complex128", "integers or floats")),
    "text": ({"inputs": GOOD.astype("U3")}, ("<U3",)),
    "time": ({"inputs": GOOD.astype("M8[s]")}, ("datetime64",)),
    "record": ({"inputs": np.zeros((3, 5, 1), [("a", int)])}, ("integers or floats",)),
    "a code too large": ({"codes": GOOD + 32}, ("'codes' holds 32", "codes are 0 to 31")),
    "float codes": ({"codes": GOOD * 1.0}, ("'codes' holds values of type float64", "give integers")),
    "integers that may be codes": ({"inputs": GOOD + 16}, ("holds 16 ", "0 to 1.9375", "as 'codes'")),
    "both": ({"inputs": GOOD, "codes": GOOD}, ("holds 'inputs' and 'codes'", "keep")),
    "no samples": ({"inputs": GOOD[:0]}, ("(0, 5, 1)", "at least one")),
    "no steps": ({"inputs": GOOD[:, :0]}, ("(3, 0, 1)", "at least one")),
    "labels too long": (
        {"labels": np.zeros(4, int)},
        ("'inputs' has 3 samples, 'labels' 4", "(samples, steps, channels)"),
    ),
    "labels of another shape": ({"labels": np.zeros((3, 10), int)}, ("'labels'", "(3, 10)")),
    "float labels": ({"labels": np.zeros(3)}, ("'labels'", "float64")),
    "negative label": ({"labels": np.array([0, -1, 0])}, ("'labels'", "-1", "0 to 9")),
    "label too large": ({"labels": np.array([0, 10, 0])}, ("'labels'", "10", "0 to 9")),
    "length 0": ({"lengths": np.array([1, 0, 5])}, ("'lengths'", "0 to 5", "1 to 5")),
    "length too long": ({"lengths": np.array([1, 6, 5])}, ("'lengths'", "1 to 6", "1 to 5")),
    "lengths of another shape": ({"lengths": np.array([1, 5])}, ("'inputs' has 3 samples, 'lengths' 2",)),
    "object lengths": ({"lengths": np.array([1, 5, None])}, ("object array 'lengths', which is never loaded",)),
    "object inputs": ({"inputs": GOOD.astype(object)}, ("object array 'inputs', which is never loaded",)),
}


@pytest.mark.parametrize("name", BAD_DATA)
@pytest.mark.parametrize("line", READS_DATA)
def test_bad_data(line: str, name: str, refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    arrays, words = BAD_DATA[name]
    extra = {} if name == "no inputs" or "codes" in arrays else {"inputs": GOOD}
    np.savez(tmp_path / "bad.npz", **extra | arrays)
    refused(*filled(line, digits_model, "bad.npz"), words=("bad.npz", *words))


def test_data_that_is_one_array(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GOOD)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    refused(*filled(READS_DATA[1], digits_model, "a.npz"), words=("single array", "numpy.savez"))


def test_data_in_other_files(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    for name in ("a.csv", "a.txt", "a"):
        (tmp_path / name).write_text("1,2,3\n" * 9)
        refused(*filled(READS_DATA[1], digits_model, name), words=(name, "give an .npz, .npy, .h5 or .pt file"))
    refused(
        *filled(READS_DATA[1], digits_model, digits_model.path), words=("'.nir'", "give an .npz, .npy, .h5 or .pt file")
    )
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x/inputs"], file["x/y/z"], file["label"] = GOOD, GOOD, 3
    words = ("no array 'inputs' or 'codes', only 'label', 'x/inputs', 'x/y/z'", "at its top")
    refused(*filled(READS_DATA[1], digits_model, "a.h5"), words=words)
    refused("inspect", "a.h5", words=("a.h5", *words))
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:-9])
    refused("inspect", "a.h5", words=("a.h5: is damaged or not an HDF5 file (truncated file",))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inputs/x"] = GOOD
    refused(*filled(READS_DATA[1], digits_model, "a.h5"), words=("'inputs' is a group, not an array",))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inputs"] = h5py.Empty("f")
    refused(*filled(READS_DATA[1], digits_model, "a.h5"), words=("'inputs' is an empty dataset, not an array",))


def test_the_reason_of_a_library_is_cut_between_words(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["inputs"] = np.zeros((300, 5, 1))
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[:-1000])
    line = refused(
        *filled(READS_DATA[1], digits_model, "a.h5"), words=("is damaged or not an HDF5 file (truncated file: eof = ",)
    )
    assert f"stored_eof = {len(content)}): save it again with h5py" in line


EXPORT = ("export", CHECKPOINT, "--data", CALIBRATION, "-o", "out.nir")
BAD_OPTIONS: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "weights of 0 bits": ((*EXPORT, "--weight-bits", 0), ("weight_bits = 0", "--weight-bits 1 to 8")),
    "weights of 33 bits": ((*EXPORT, "--weight-bits", 33), ("weight_bits = 33", "--weight-bits 1 to 8")),
    "states of 1 bit": ((*EXPORT, "--state-bits", 1), ("state_bits = 1", "--state-bits 2 to 24")),
    "states of 99 bits": ((*EXPORT, "--state-bits", 99), ("state_bits = 99", "--state-bits 2 to 24")),
    "states of -3 bits": ((*EXPORT, "--state-bits", -3), ("--state-bits 2 to 24",)),
    "bits in words": ((*EXPORT, "--state-bits", "many"), ("--state-bits", "'many'")),
    "coefficients of 99 bits": ((*EXPORT, "--coefficient-bits", 99), ("--coefficient-bits 2 to 32",)),
    "fraction of 40 bits": ((*EXPORT, "--coefficient-frac", 40), ("--coefficient-frac",)),
    "rounding": ((*EXPORT, "--rounding", "up"), ("'up'", "per-product", "per-sum")),
    "profile": ((*EXPORT, "--profile", "loihi9"), ("'loihi9' does not exist", "loihi1, loihi2")),
    "profile to print": (("profiles", "loihi9"), ("'loihi9' does not exist",)),
    "profile file": ((*EXPORT, "--profile", "gone.toml"), ("gone.toml", "check the path")),
    "dt of 0": (("export", CHECKPOINT, "-o", "out.nir", "--dt", 0), ("--dt 0", "positive")),
    "dt NaN": (("export", CHECKPOINT, "-o", "out.nir", "--dt", "nan"), ("--dt nan",)),
    "backend": (("simulate", "MODEL", "--data", "DATA", "--backend", "fpga", "-o", "out.h5"), ("'fpga'", "reference")),
    "against": (("verify", "MODEL", "--data", "DATA", "--against", "reference,brian"), ("'brian'", "lava")),
    "against nothing": (("verify", "MODEL", "--data", "DATA", "--against", ","), ("''", "lava")),
    "no samples": (("verify", "MODEL", "--data", "DATA", "--samples", 0), ("--samples 0", "1 or more")),
    "no samples to simulate": (
        ("simulate", "MODEL", "--data", "DATA", "--samples", -1, "-o", "out.h5"),
        ("--samples -1", "1 or more"),
    ),
    "no demo samples": (("demo", "-o", "out", "--samples", 0), ("--samples 0", "1 or more")),
    "trace": (("simulate", "MODEL", "--data", "DATA", "--trace", "all", "-o", "out.h5"), ("'all'", "states")),
    "report type": (("report", "MODEL", "--data", "DATA", "-o", "out.xls"), ("'.xls'", ".json", ".md")),
    "dt of a checkpoint": (("export", CHECKPOINT, "-o", "out.nir", "--dt", 1), ("--dt 1", "0.001 s", "leave --dt")),
    "dt of a checkpoint to check": (("check", CHECKPOINT, "--dt", 1), ("digits.safetensors", "0.001 s", "leave --dt")),
    "dt of a model to check": (("check", "MODEL", "--dt", 1), ("digits.nir", "0.001 s", "leave --dt out")),
    "dt of a network to verify with": (
        ("verify", "MODEL", "--data", "DATA", "--checkpoint", CHECKPOINT, "--dt", 0.5),
        ("digits.safetensors", "--dt 0.5", "0.001 s", "leave --dt out"),
    ),
    "dt of a network to report": (
        ("report", "MODEL", "--data", "DATA", "--checkpoint", CHECKPOINT, "--dt", 0.5),
        ("digits.safetensors", "--dt 0.5", "0.001 s", "leave --dt out"),
    ),
    "dt of no network": (("verify", "MODEL", "--data", "DATA", "--dt", 0.5), ("--dt 0.5", "--checkpoint")),
    "dt of no network to report": (("report", "MODEL", "--data", "DATA", "--dt", 0.5), ("--dt 0.5", "--checkpoint")),
    "model type": (("export", CHECKPOINT, "-o", "out.txt"), ("out.txt", ".nir")),
    "recording type": (("simulate", "MODEL", "--data", "DATA", "-o", "out"), ("out", ".h5")),
    "a family that the chip lacks": (
        ("export", CHECKPOINT, "--profile", "loihi1", "-o", "out.nir"),
        ("block0", "state_space", "choose another profile"),
    ),
    "no name of data": (("simulate", "MODEL", "--data", "", "-o", "out.h5"), ("'--data'", "name is empty", "--help")),
    "no name of output": (("simulate", "MODEL", "--data", "DATA", "-o", ""), ("'-o'", "name is empty")),
    "no name of a model": (("warmup", ""), ("MODEL", "name is empty")),
    "no output": (("simulate", "MODEL", "--data", "DATA"), ("--output", "simulate --help")),
    "unknown command": (("deploy",), ("'deploy'", "--help")),
    "unknown option": (("inspect", "--fast"), ("--fast", "--help")),
    "unknown type": (("inspect", LOIHI2), ("loihi2.toml", "'.toml'", ".nir")),
    "a checkpoint as a model": (("simulate", CHECKPOINT, "--data", "DATA", "-o", "out.h5"), ("digits.safetensors",)),
    "a model as a checkpoint": (("export", "MODEL", "-o", "out.nir"), ("digits.nir", "quantized already")),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_option(name: str, refused: Refused, digits_model: Model) -> None:
    arguments, words = BAD_OPTIONS[name]
    places = {"MODEL": digits_model.path, "DATA": digits_model.data}
    refused(*(places.get(str(word), word) for word in arguments), words=words)


@pytest.mark.parametrize("suffix", ["h5", "nir"])
def test_another_hdf5_file_as_a_model(suffix: str, refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    name = f"x.{suffix}"
    simulate = ("simulate", name, "--data", digits_model.data, "-o", "out.h5")
    kinds = {
        "inputs": ("holds samples", "--data", ".nir"),
        "a/b": ("holds no NIR graph", "a .nir file"),
    }
    for array, words in kinds.items():
        with h5py.File(tmp_path / name, "w") as file:
            file[array] = GOOD
        refused(*simulate, words=(name, *words))
        if suffix == "nir":
            for command in ("check", "inspect"):
                refused(command, name, words=(name, *words))
    recording = pipeline.run(pipeline.read(digits_model.path), Data(GOOD, None, np.full(3, 5)))
    write_recording(recording, tmp_path / name)
    refused(*simulate, words=(name, "is a recording", "model (.nir) that was run"))


def test_a_checkpoint_that_the_model_did_not_come_from(
    refused: Refused, digits_model: Model, lif_model: Model, tmp_path: Path
) -> None:
    for command in ("verify", "report"):
        arguments = (command, lif_model.path, "--data", lif_model.data, "--checkpoint")
        words = ("digits.safetensors: is not the network that", "lif.nir came from: its input shape is (1,)")
        refused(*arguments, CHECKPOINT, words=words)
        words = ("digits.nir: is quantized: give the float network that", "lif.nir was exported from")
        refused(*arguments, digits_model.path, words=words)
        refused(*arguments, lif_model.path, words=("lif.nir: is quantized", words[1]))


def test_what_is_no_quantized_model(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    arguments = ("--data", digits_model.data, "-o", "out.h5")
    nodes = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    nir.write(tmp_path / "float.nir", nir.NIRGraph(nodes, [("input", "output")]))
    refused("simulate", "float.nir", *arguments, words=("float.nir", "nmdeploy export float.nir", "--dt SECONDS"))
    words = (f"is a checkpoint, not a model: quantize it: nmdeploy export {CHECKPOINT} --profile",)
    refused("simulate", CHECKPOINT, *arguments, words=words)
    refused("simulate", CALIBRATION, *arguments, words=("holds samples: give it to --data",))


def test_a_nir_graph_with_two_inputs(cli: Cli, refused: Refused, tmp_path: Path) -> None:
    ones = np.ones(2)
    nodes = {"a": nir.Input(np.array([2])), "b": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    nodes |= {"lif": nir.LIF(ones, ones, ones * 0, ones)}
    graph = nir.NIRGraph(nodes, [("a", "lif"), ("b", "lif"), ("lif", "output")], type_check=False)
    nir.write(tmp_path / "two.nir", graph)
    words = ("two.nir", "2 Input nodes", "merge them into one Input with all channels")
    refused("export", "two.nir", "--dt", "1e-3", "-o", "out.nir", words=words)
    outcome = cli("check", "two.nir", "--dt", "1e-3")
    assert outcome.exit_code == 1 and words[-1] in outcome.stdout


BAD_PROFILES = {
    "a figure missing": (lambda text: text.replace("usable_cores =", "# "), ("[chip]", "lacks 'usable_cores'")),
    "an unknown key": (lambda text: text.replace("[chip]", "[chip]\ncolour = 1"), ("[chip]", "'colour' is unknown")),
    "an unknown table": (lambda text: text + "\n[extra]\n", ("'extra' is unknown",)),
    "no source": (lambda text: text.replace("neurons = { value = 8192", "neurons = 1 #"), ("neurons", "source")),
    "no TOML": (lambda text: "[", ("is no TOML",)),
    "empty": (lambda text: "", ("lacks 'title'",)),
}


@pytest.mark.parametrize("name", BAD_PROFILES)
def test_bad_profile(name: str, refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    change, words = BAD_PROFILES[name]
    (tmp_path / "mine.toml").write_text(change(LOIHI2.read_text()))
    for command in (EXPORT, ("report", digits_model.path, "--data", digits_model.data), ("check", CHECKPOINT)):
        refused(*command, "--profile", "mine.toml", words=("mine.toml", *words))
    refused("profiles", "mine.toml", words=("mine.toml", *words))


def limited(text: str, table: str, key: str, value: int) -> str:
    """A profile with another value in one place."""
    head, _, rest = text.partition(f"[{table}]\n")
    lines = [
        f'{key} = {{ value = {value}, source = "test"{", unit = {!r}".format("bit") if "bits" in key else ""} }}'
        if line.startswith(f"{key} =")
        else line
        for line in rest.split("\n")
    ]
    return f"{head}[{table}]\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("table", "key", "value", "words"),
    [
        ("core", "neuron_bits", 100, ("bits per neuron", "(100)", "'block0'", "fewer states")),
        ("core", "memory_bits", 1000, ("memory bits", "(1000)", "fewer weight bits")),
        ("core", "input_axons", 8, ("input axons", "(8)", "(64)")),
        ("chip", "usable_cores", 2, ("cores", "2")),
    ],
)
def test_a_network_that_does_not_fit(
    table: str, key: str, value: int, words: tuple[str, ...], refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(limited(LOIHI2.read_text(), table, key, value))
    refused(*EXPORT, "--profile", "tiny.toml", words=("'tiny'", *words))


WRITES = (
    ("export", CHECKPOINT, "--data", CALIBRATION, "-o", "OUT.nir"),
    ("simulate", "MODEL", "--data", "DATA", "-o", "OUT.h5"),
    ("report", "MODEL", "--data", "DATA", "-o", "OUT.json"),
    ("report", "MODEL", "--data", "DATA", "-o", "OUT.md"),
    ("report", "MODEL", "--data", "DATA", "-o", "OUT.csv"),
)


def writing(line: tuple[object, ...], model: Model, out: str) -> list[str]:
    places = {"MODEL": str(model.path), "DATA": str(model.data)}
    return [places.get(str(word), str(word).replace("OUT", out)) for word in line]


@pytest.mark.parametrize("line", WRITES, ids=lambda line: " ".join(map(str, (line[0], line[-1]))))
def test_unwritable_output(line: tuple[object, ...], refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    suffix = Path(str(line[-1])).suffix
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / f"pipe{suffix}").unlink(missing_ok=True)
    refused(*writing(line, digits_model, "folder"), words=(f"folder{suffix}", "is a folder"))
    refused(*writing(line, digits_model, "gone/x"), words=(f"gone/x{suffix}", "No such file"))
    refused(*writing(line, digits_model, "file/x"), words=(f"file/x{suffix}", "Not a directory"))
    refused(*writing(line, digits_model, "x" * 300), words=("File name too long",))
    refused(*writing(line, digits_model, "/proc/x"), words=(f"/proc/x{suffix}",))
    os.mkfifo(tmp_path / f"pipe{suffix}")
    refused(*writing(line, digits_model, "pipe"), words=(f"pipe{suffix}", "not a regular file"))
    assert stat.S_ISFIFO((tmp_path / f"pipe{suffix}").stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    for line in WRITES:
        refused(*writing(line, digits_model, "locked/x"), words=("locked/x", "Permission denied"))


def test_output_that_is_an_input(refused: Refused, digits_model: Model, tmp_path: Path) -> None:
    (tmp_path / "model.nir").write_bytes(digits_model.path.read_bytes())
    (tmp_path / "link.h5").symlink_to("model.nir")
    simulate = ("simulate", "model.nir", "--data", digits_model.data, "-o")
    refused(*simulate, "model.nir", words=("model.nir", "also an input"))
    refused(*simulate, "link.h5", words=("link.h5", "also an input"))
    refused("export", "model.nir", "-o", tmp_path / "model.nir", words=("also an input",))


def test_demo_folder_that_cannot_be(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    refused("demo", "-o", "file", words=("file", "another folder"))
    refused("demo", "-o", "file/x", words=("file/x", "another folder"))
    (tmp_path / "out" / "model.nir").mkdir(parents=True)
    refused("demo", "-o", "out", words=("out/model.nir", "is a folder"))


@pytest.mark.parametrize("line", WRITES[:4], ids=lambda line: " ".join(map(str, (line[0], line[-1]))))
@pytest.mark.parametrize("existing", [pytest.param(False, marks=pytest.mark.slow), True])
def test_full_disk(line: tuple[object, ...], existing: bool, digits_model: Model, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: HDF5 and Python meet the same failing write.

    Python would cut its bytecode to the limit without an error, and no later process could read it: it writes none.
    """
    arguments = writing(line, digits_model, "out")
    if existing:
        (tmp_path / arguments[-1]).write_text("kept")
    before = processes.files(tmp_path)
    outcome = processes.run(
        *arguments,
        cwd=tmp_path,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512)),
    )
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stderr.startswith(f"Error: {arguments[-1]}: cannot be written (File too large)")
    assert outcome.stderr.count("\n") == 1
    assert outcome.stdout == ""
    assert processes.files(tmp_path) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", [None, "1"])
def test_full_standard_output(digits_model: Model, unbuffered: str | None) -> None:
    """Python keeps what it could not write, and would try again as it ends."""
    with Path("/dev/full").open("w") as full:
        outcome = subprocess.run(
            processes.command("inspect", digits_model.path),
            env=processes.environment({"PYTHONUNBUFFERED": unbuffered}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert outcome.returncode == 2
    assert outcome.stderr == "Error: output: No space left on device: free space, or change the permissions\n"


def test_no_traceback_of_a_bad_extension(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[nmdeploy.backends]\nbroken = broken_backend\n")
    (tmp_path / "broken_backend.py").write_text("1 / 0\n")
    outcome = processes.run("simulate", "m.nir", "--data", "d.npz", "-o", "x.h5", env={"PYTHONPATH": str(tmp_path)})
    assert outcome.returncode == 2, outcome.stderr
    assert "extension 'broken'" in outcome.stderr and outcome.stderr.count("\n") == 1, outcome.stderr
