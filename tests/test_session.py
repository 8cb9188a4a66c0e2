"""A sample that arrives step by step: in whatever blocks, the outputs and counts are those of the whole run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from equal_runs import random_codes
from every_shape import WIRED
from family_examples import examples, quantized
from hypothesis import given, settings
from hypothesis import strategies as st
from networks_windowed import windowed_case
from networks_wired import Wired, chain, two_way

import nmdeploy
from nmdeploy.backends import compiled, reference
from nmdeploy.engine.run import sample_run
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.errors import BadData, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Recording

BACKENDS = ("compiled", "reference")
FAMILIES = examples()


def blocks(codes: Any, cuts: Sequence[int]) -> Iterator[Any]:
    """Cut a sample (steps, channels) before the given steps; a block may be empty."""
    ends = [0, *sorted(cuts), len(codes)]
    for first, last in itertools.pairwise(ends):
        yield codes[first:last]


def streamed(session: nmdeploy.Session, codes: Any, cuts: Sequence[int]) -> Any:
    """Outputs of a sample that is pushed in blocks; each comes `latency` steps after its input."""
    found = []
    for block in blocks(codes, cuts):
        found.append(session.push(block, codes=True))
        assert sum(map(len, found)) == max(0, session.steps - session.latency)
    found.append(session.flush())
    return np.concatenate(found)


def require_equal(session: nmdeploy.Session, whole: Recording, outputs: Any) -> None:
    assert outputs.dtype == whole.output.dtype and np.array_equal(outputs, whole.output[0])
    assert session.counts() == {
        name: {metric: int(count[0]) for metric, count in layer.counts.items()} for name, layer in whole.layers.items()
    }


def check(
    network: QuantizedNetwork,
    cuts: Sequence[int],
    steps: int = 30,
    samples: int = 1,
    backends: Sequence[str] = BACKENDS,
) -> None:
    """Compare samples in blocks with whole runs, with a reset between them."""
    sessions = [nmdeploy.Session(network, backend) for backend in backends]
    for seed in range(samples):
        codes = random_codes(network, seed, 1, steps)
        whole = reference.run(network, codes)
        for session, backend in zip(sessions, backends, strict=True):
            assert session.backend == backend and session.latency == network.output_delay
            require_equal(session, whole, streamed(session, codes[0], cuts))
            session.reset()


@pytest.mark.parametrize("index", range(len(FAMILIES)), ids=lambda index: f"{FAMILIES[index].kind}-{index}")
def test_every_family(index: int) -> None:
    network = quantized(FAMILIES[index])
    check(network, range(1, 20), 20, samples=2)
    if network.output_delay:
        for steps in range(1, 9):  # samples that end within a window
            check(network, (1, 3) if steps > 3 else (), steps)
    if network.populations["n"].membrane_register is not None:
        check(replace(network, readout="membrane-last"), (1, 2, 9, 9), 15)


@pytest.mark.parametrize("name", WIRED)
def test_networks_of_every_shape(name: str) -> None:
    network = WIRED[name]()
    check(network, (1, 2, 3, 10, 10, 29))
    check(network, (), 1)


SPLIT = [WIRED[name]() for name in ("feedback", "delays", "windows 4", "graded loops")]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_split_gives_the_whole_run(data: st.DataObject) -> None:
    network = data.draw(st.sampled_from(SPLIT), label="network")
    steps = data.draw(st.integers(1, 40), label="steps")
    cuts = data.draw(st.lists(st.integers(0, steps), max_size=6), label="cuts")
    check(network, cuts, steps, backends=("compiled",))


@pytest.mark.parametrize("name", ["long feedback", "delays", "delayed paths", "windows 4", "graded loops"])
def test_windows_of_rows_move(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that delays still read move to the start of their memory, many times in a long sample."""
    monkeypatch.setattr(sample_run, "WINDOW_BYTES", 1)
    monkeypatch.setattr(sample_run, "WINDOW_STEPS", 3)
    network = WIRED[name]()
    assert sample_run.SampleRun(compiled.engine(network, "none").program).rows < 110
    for cuts in ((), range(1, 400)):
        check(network, cuts, 400, backends=("compiled",))


def test_membranes_over_moves_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_run, "WINDOW_BYTES", 1)
    check(replace(two_way(2), output="c", readout="membrane-max"), (1, 40, 41, 200), 300)


def test_a_reset_loses_the_sample_at_any_step() -> None:
    network = windowed_case(4).network
    codes = random_codes(network, 1, 1, 40)
    for backend in BACKENDS:
        session = nmdeploy.Session(network, backend)
        for steps in (0, 1, 7, 23):
            session.push(codes[0, :steps], codes=True)
            session.reset()
            assert session.steps == 0
        require_equal(session, reference.run(network, codes), streamed(session, codes[0], (5,)))


def test_sessions_of_one_network_do_not_meet() -> None:
    network = two_way(2)
    codes = random_codes(network, 1, 2, 25)
    one, other = nmdeploy.Session(network), nmdeploy.Session(network)
    found = [[session.push(step, codes=True) for step in sample] for session, sample in ((one, codes[0]),)]
    pairs = [(one.push(codes[0, :0]), other.push(step, codes=True)) for step in codes[1]]
    whole = nmdeploy.run(network, {"codes": codes}).output
    assert np.array_equal(np.concatenate(found[0]), whole[0])
    assert np.array_equal(np.concatenate([pair[1] for pair in pairs]), whole[1])


def test_an_empty_sample_has_no_outputs() -> None:
    for network in (windowed_case(4).network, two_way(2), replace(two_way(2), output="c", readout="membrane-last")):
        for backend in BACKENDS:
            session = nmdeploy.Session(network, backend)
            size = network.populations[network.output].output_size
            whole = reference.run(network, random_codes(network, 1, 1, 3)).output
            for found in (session.push(np.zeros((0, network.input.size))), session.flush()):
                assert found.shape == (0, size) and found.dtype == whole.dtype


def test_outputs_are_the_callers_own() -> None:
    network = chain(1, 5, 8, 8)
    session = nmdeploy.Session(network)
    codes = random_codes(network, 1, 1, 20)
    first = session.push(codes[0, :10], codes=True)
    kept = first.copy()
    first[:] = True
    assert np.array_equal(np.concatenate([kept, session.push(codes[0, 10:])]), nmdeploy.run(network, codes).output[0])


def test_inputs_are_values_unless_they_are_codes() -> None:
    network = chain(1, 4, 8, form=FixedPoint(5, 2))
    values = np.random.default_rng(0).uniform(-3.9, 3.7, (30, 4))
    expected = nmdeploy.run(network, values[None]).output[0]
    codes = np.rint(values * 4).astype(np.int8)
    for given_as, options in ((values, {}), (values.tolist(), {}), (codes, {"codes": True})):
        assert np.array_equal(nmdeploy.Session(network).push(given_as, **options), expected)


def test_torch_tensors_and_shapes_of_the_input_are_taken() -> None:
    torch = pytest.importorskip("torch")
    network = chain(1, 6, 8)
    nodes = {**network.nodes, "input": replace(network.input, shape=(1, 2, 3))}
    network = replace(network, nodes=nodes)
    inputs = random_codes(network, 1, 1, 9)[0]
    expected = nmdeploy.run(network, inputs[None]).output[0]
    for block in (inputs, inputs.reshape(9, 1, 2, 3), torch.tensor(inputs), inputs.astype(bool), inputs.astype(float)):
        assert np.array_equal(nmdeploy.Session(network).push(block), expected)
    session = nmdeploy.Session(network)
    for step, row in zip(inputs, expected, strict=True):
        assert np.array_equal(session.push(step.reshape(1, 2, 3)), row[None])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (np.zeros((3, 4)), {}, r"inputs of shape \(3, 4\): give a step \(5,\), or a block \(steps, 5\)"),
        (np.zeros(4), {}, r"inputs of shape \(4,\): give a step"),
        (np.zeros((1, 3, 5)), {}, r"inputs of shape \(1, 3, 5\)"),
        (1.0, {}, r"inputs of shape \(\)"),
        ([[1, 0], [1]], {}, "no array of numbers"),
        (np.full((2, 5), "a"), {}, "inputs of type <U1: give numbers"),
        (np.full((2, 5), 2.0), {}, r"2.0 in step 3, channel 0: the model's values are 0 to 1"),
        (np.full(5, -1), {}, r"-1 in step 3, channel 0: the model's values are 0 to 1: rescale them, or clip them"),
        (np.array([[0, 0, 0, 0, 0], [0, 0, 0, np.nan, 0]]), {}, "nan in step 4, channel 3"),
        (np.full(5, np.inf), {}, "inf in step 3, channel 0"),
        (np.full(5, 2), {"codes": True}, "2 in step 3, channel 0: the model's codes are 0 to 1"),
        (np.full(5, 1.0), {"codes": True}, "codes of type float64: give integers of the input's format"),
    ],
)
def test_bad_inputs_are_refused_in_one_line_and_change_nothing(
    inputs: Any, options: Any, message: str, backend: str
) -> None:
    network = chain(1, 5, 8)
    codes = random_codes(network, 1, 1, 20)
    session = nmdeploy.Session(network, backend)
    found = [session.push(codes[0, :3])]
    with pytest.raises(BadData, match=message) as raised:
        session.push(inputs, **options)
    assert "\n" not in str(raised.value) and session.steps == 3
    found.append(session.push(codes[0, 3:]))
    require_equal(session, reference.run(network, codes), np.concatenate(found))


def test_an_ended_sample_takes_no_steps() -> None:
    session = nmdeploy.Session(chain(1, 5, 8))
    session.push(np.zeros((3, 5)))
    session.flush()
    with pytest.raises(BadOption, match=r"push after flush: the sample has ended: call reset\(\)"):
        session.push(np.zeros(5))
    with pytest.raises(BadOption, match="flush after flush"):
        session.flush()
    session.reset()
    assert session.push(np.zeros(5)).shape == (1, 8)


def test_a_sample_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    session = nmdeploy.Session(chain(1, 5, 8))
    session.steps = (1 << 31) - 2
    with pytest.raises(BadOption, match=r"a sample of 2147483647 steps: limit 2147483646: call reset\(\) before"):
        session.push(np.zeros(5))


def test_steps_near_the_end_of_their_range_run() -> None:
    """Pointers lie far before their memory then; the time is the largest that kernels are proved for."""
    network = two_way(2)
    codes = random_codes(network, 1, 1, 20)
    expected = nmdeploy.Session(network).push(codes[0], codes=True)
    session = nmdeploy.Session(network)
    run = session._stream.run  # type: ignore[attr-defined]
    far = (1 << 31) - 100
    run.steps = session.steps = session._stream.known = far  # type: ignore[attr-defined]
    run._point_to(far - run.behind)  # the rows before the first step are zeros
    assert np.array_equal(session.push(codes[0], codes=True), expected)
    session.reset()
    assert np.array_equal(session.push(codes[0], codes=True), expected)


def test_backends_that_run_whole_samples_are_refused() -> None:
    with pytest.raises(BadOption, match="backend 'lava' runs whole samples only: choose auto, compiled or reference"):
        nmdeploy.Session(chain(1, 5, 8), "lava")
    with pytest.raises(BadOption, match="backend 'none' does not exist"):
        nmdeploy.Session(chain(1, 5, 8), "none")
    with pytest.raises(BadOption, match="takes a QuantizedNetwork"):
        nmdeploy.Session(np.zeros(3))  # type: ignore[arg-type]


def test_a_network_that_cannot_be_compiled_says_that_the_reference_runs() -> None:
    wired = Wired(0, 10)
    wired.spiking("a", 5, "binary", outputs=2)
    wired.connect(["input"], "a")
    wired.lif("b", 4)
    wired.connect(["a", "input"], "b")
    network = wired.network("b")
    with pytest.warns(RuntimeWarning, match="the reference runs the network") as warned:
        session = nmdeploy.Session(network)
    assert session.backend == "reference" and warned[0].filename == __file__
    with pytest.raises(NotTraceable):
        nmdeploy.Session(network, "compiled")
    check(network, (3, 4), backends=("reference",))
