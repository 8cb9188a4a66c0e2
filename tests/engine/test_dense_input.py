"""Dense input that a library multiplies gives the same values and counts as its events do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from equal_runs import both, random_codes, random_lengths
from networks_windowed import windowed_case
from networks_wired import Wired, chain

from nmdeploy.backends import compiled
from nmdeploy.engine.run import dense_input, products
from nmdeploy.engine.run.runner import single_synapse_run
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import BINARY
from nmdeploy.synapses.dense import QuantizedDense

UNSIGNED, SIGNED = FixedPoint(8, 0, signed=False), FixedPoint(8, 0, signed=True)


@pytest.fixture(params=["torch", "onnxruntime"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The library takes every product that it may; yields the synapses that it took."""
    pytest.importorskip(request.param)
    taken: list[str] = []

    def decide(self: Any, name: str, rows: Any, codes: Any) -> None:
        taken.append(name)
        self.chosen[name] = str(request.param)

    monkeypatch.setattr(dense_input.DenseInput, "_decide", decide)
    yield taken


class Timed(dense_input.DenseInput):
    """Ten milliseconds for the events of a sample; `sample` seconds for its product."""

    sample = 0.0

    def _events(self, name: str, some: Any) -> float:
        return 0.01 * len(some)

    def _product(self, rows: Any, some: Any, library: str) -> float:
        return self.sample * len(some)


def deciding(monkeypatch: pytest.MonkeyPatch, sample: float, library: str | None = "onnxruntime") -> Timed:
    """What decides for a network of one dense synapse."""
    monkeypatch.setattr(products, "library", lambda: library)
    found = Timed(compiled.engine(chain(1, 30, 21, 5), "none").program, single_synapse_run)
    found.sample = sample
    return found


DENSE = np.ones((5, 25, 30), np.uint8)


@pytest.mark.parametrize(("sample", "chosen"), [(0.0099, {"n0.0": "onnxruntime"}), (0.0101, {})])
def test_the_faster_way_is_taken(monkeypatch: pytest.MonkeyPatch, sample: float, chosen: dict[str, str]) -> None:
    monkeypatch.setattr(dense_input, "TRIAL_AFTER_SECONDS", 0.05)
    made = deciding(monkeypatch, sample)
    assert made.choose(DENSE) == made.choose(DENSE) == chosen
    assert made.chosen == {"n0.0": chosen.get("n0.0")}


def test_a_job_in_chunks_is_weighed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library is tried when the events of all chunks together have taken as long as its start."""
    monkeypatch.setattr(dense_input, "TRIAL_AFTER_SECONDS", 0.2)
    made = deciding(monkeypatch, 0.001)
    assert [made.choose(DENSE[:4]) for _ in range(6)] == [{}] * 4 + [{"n0.0": "onnxruntime"}] * 2
    assert deciding(monkeypatch, 0.001).choose(np.concatenate([DENSE] * 4)) == {"n0.0": "onnxruntime"}


def test_a_trial_holds_few_sums_however_wide_the_layer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of 100,000 neurons once asked for 16 GB in its trial."""
    monkeypatch.setattr(products, "library", lambda: "onnxruntime")
    tried: list[int] = []

    class Counted(Timed):
        def _events(self, name: str, some: Any) -> float:
            tried.append(len(some))
            return 1.0

    made = Counted(compiled.engine(chain(1, 5, 21, 5), "none").program, single_synapse_run)
    monkeypatch.setattr(dense_input, "TRIAL_VALUES", 3 * 25 * made.program.synapses["n0.0"].columns)
    made.choose(np.ones((9, 25, 5), np.uint8))
    assert set(tried) == {3}


def test_no_library_for_a_sample_whose_sums_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_input, "TRIAL_AFTER_SECONDS", 0.0)
    sums = 25 * deciding(monkeypatch, 0.0).program.synapses["n0.0"].columns
    monkeypatch.setattr(dense_input, "SUMS_MAX", sums)
    assert deciding(monkeypatch, 0.0).choose(DENSE) == {"n0.0": "onnxruntime"}
    monkeypatch.setattr(dense_input, "SUMS_MAX", sums - 1)
    assert deciding(monkeypatch, 0.0).choose(DENSE) == {}


def test_without_a_library_events_do_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_input, "TRIAL_AFTER_SECONDS", 0.0)
    assert deciding(monkeypatch, 0.0, None).choose(DENSE) == {}


@pytest.mark.parametrize("processor", ["x86_64", "AMD64", "aarch64"])
@pytest.mark.parametrize("dot", ["", "avx512vnni", "avxvnni"])
@pytest.mark.parametrize(("weight", "wide"), [(64, False), (65, True), (-64, False), (-65, True)])
def test_sums_of_pairs_beyond_16_bits_are_known(
    monkeypatch: pytest.MonkeyPatch, processor: str, dot: str, weight: int, wide: bool
) -> None:
    """2 * 255 * 64 is 32,640, 2 * 255 * 65 is 33,150; a dot product of bytes, and other processors, add in 32 bits."""
    monkeypatch.setattr(products.platform, "machine", lambda: processor)
    monkeypatch.setattr(products, "has", lambda feature: feature == dot)
    weights = np.array([[0, weight], [1, -1]], np.int8)
    assert products.saturates(weights) == (wide and not dot and processor != "aarch64")


@pytest.mark.parametrize("saturates", [False, True])
@pytest.mark.parametrize("low", [0, -128])
def test_sums_of_unsigned_weights(monkeypatch: pytest.MonkeyPatch, saturates: bool, low: int) -> None:
    """Weights that fit either way give the same sums in both forms; the processor at hand decides for all others."""
    if not products.importlib.util.find_spec("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    monkeypatch.setattr(products, "saturates", lambda weights: saturates)
    rng = np.random.default_rng(0)
    codes = rng.integers(low, 128, (50, 77))
    weights = rng.integers(-64, 65, (77, 33)).astype(np.int8)
    assert (products.sums(codes, weights, "onnxruntime") == codes @ weights.astype(np.int64)).all()


def test_which_library_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch only if it is there already: to import it takes longer than most runs."""
    installed = {"onnxruntime"}
    monkeypatch.setattr(products.importlib.util, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setitem(sys.modules, "torch", object())
    assert products.library() == "onnxruntime"
    installed.clear()
    assert products.library() == "torch"
    monkeypatch.delitem(sys.modules, "torch")
    assert products.library() is None


@pytest.mark.parametrize("form", [BINARY, UNSIGNED, SIGNED], ids=["binary", "unsigned", "signed"])
@pytest.mark.parametrize("channels", [1, 3, 8, 33, 300, 513])
def test_dense_inputs(library: list[str], channels: int, form: FixedPoint) -> None:
    network = chain(channels, channels, 21, 5, form=form)
    codes = random_codes(network, 0, 6, 25, share=0.9)
    for dtype in (np.int64, np.int16, np.int8 if form is SIGNED else np.uint8):
        for trace in ("none", "states"):
            both(network, codes.astype(dtype), random_lengths(0, 6, 25), trace)
    assert set(library) == {"n0.0"}


@pytest.mark.parametrize("form", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
def test_the_largest_sums(library: list[str], form: FixedPoint) -> None:
    """Two products of a byte with a byte leave 16 bits: where a library saturates there, these sums show it."""
    rng = np.random.default_rng(0)
    channels, size = 64, 40
    wired = Wired(0, channels, form)
    wired.readout("n", size)
    weight = rng.choice([-128, 127], (size, channels))
    weight[0], weight[1], weight[2, ::2], weight[2, 1::2] = 127, -128, 127, -128
    wired.builder.connect("input", "n", QuantizedDense(weight))
    network = wired.network("n")
    codes = rng.choice([form.min, form.max], (3, 20, channels))
    codes[0, :3], codes[0, 3:6], codes[0, 6, ::2] = form.max, form.min, form.max
    both(network, codes)
    both(network, codes.astype(np.int8 if form is SIGNED else np.uint8), trace="none")
    assert library


def test_largest_sums_of_every_library() -> None:
    for name in ("torch", "onnxruntime"):
        if name == "onnxruntime" and products.library() != name:
            continue
        pytest.importorskip(name)
        for code, weight in ((255, 127), (255, -128), (-128, -128), (-128, 127), (127, 127)):
            codes, weights = np.full((20, 512), code), np.full((512, 16), weight, np.int8)
            assert (products.sums(codes, weights, name) == 512 * code * weight).all(), (name, code, weight)


def test_sparse_input_stays_events(library: list[str]) -> None:
    network = chain(1, 30, 21)
    both(network, random_codes(network, 0, 6, 25, share=0.05))
    assert not library


def test_what_comes_late_or_together_stays_events(library: list[str]) -> None:
    wired = Wired(3, 12, SIGNED)
    wired.lif("a", 12)
    wired.connect(["input"], "a")
    wired.connect([("input", 1)], "a")
    wired.lif("b", 12)
    wired.connect(["a", ("input", 2)], "b")
    network = wired.network("b")
    both(network, random_codes(network, 0, 5, 40, share=0.9), random_lengths(0, 5, 40))
    assert set(library) <= {"a.0"}


@pytest.mark.parametrize("seed", range(3))
def test_windows(library: list[str], seed: int) -> None:
    network = windowed_case(seed).network
    codes = random_codes(network, 0, 9, 140, share=0.95)
    both(network, codes, random_lengths(0, 9, 140))
    both(network, codes, None, "none")


def test_dense_after_sparse_and_sparse_after_dense(library: list[str]) -> None:
    network = chain(1, 30, 21, form=UNSIGNED)
    for share in (0.02, 0.9, 0.02, 0.9):
        both(network, random_codes(network, 0, 40, 12, share), trace="none")


def test_codes_beyond_a_byte_stay_events(library: list[str]) -> None:
    network = chain(1, 9, 21, form=FixedPoint(10, 0, signed=True))
    both(network, random_codes(network, 0, 4, 12, 0.9))
    mixed = np.full((1, 3, 9), -1)
    mixed[0, 1] = 200
    both(network, mixed)
    assert compiled.run(network, mixed.astype(np.int16)).output.shape == (1, 3, 21)
