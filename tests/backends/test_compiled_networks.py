"""The compiled backend equals the reference on networks of every shape: sizes, delays, loops, sums, step counts."""

from __future__ import annotations

import numpy as np
import pytest
from equal_runs import agree, both, random_codes, random_lengths
from networks import MODELS, Case
from networks_build import Builder, Family, random_case, random_inputs
from networks_neurons import DENSE_STATES, LIF, LOUD_LIF, STATE_SPACE
from networks_windowed import gates, layer, windowed_case
from networks_wired import Wired, chain, delayed, delayed_paths, looped, summed, two_way

from nmdeploy.engine.llvm.compilation import compile_network
from nmdeploy.engine.trace.symbols import NotTraceable
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.network.graph import BINARY
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.synapses.dense import SIGN_MODES

BESIDE_VECTORS = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97)
BESIDE_CHUNKS = (511, 512, 513, 1024, 1029)
STEPS = (1, 2, 127, 128, 129, 255, 256, 257, 300)


def equal(network: QuantizedNetwork, samples: int = 3, steps: int = 25, trace: str = "states") -> None:
    agree(Case("", network, None), samples, steps, trace=trace)


@pytest.mark.parametrize("size", BESIDE_VECTORS)
def test_sizes_beside_multiples_of_8_and_32(size: int) -> None:
    equal(chain(size, 5, size, 12))
    wired = Wired(size, 3, FixedPoint(2))
    wired.spiking("n", size, "ternary", outputs=2)
    wired.connect(["input"], "n", exponent=1)
    equal(wired.network("n"), trace="spikes")


@pytest.mark.parametrize("size", BESIDE_CHUNKS)
def test_sizes_beside_chunks_of_512(size: int) -> None:
    equal(chain(size, 6, size, 3), steps=12)


@pytest.mark.parametrize("channels", [*BESIDE_VECTORS, *BESIDE_CHUNKS])
def test_channels(channels: int) -> None:
    equal(chain(channels, channels, 12), steps=12)
    equal(chain(channels, channels, 9, form=FixedPoint(5)), steps=12, trace="none")


@pytest.mark.parametrize("channels", [240, 248, 249, 255, 256, 257, 264])
def test_channels_beside_those_that_a_byte_numbers(channels: int) -> None:
    for form in (BINARY, FixedPoint(4)):
        equal(chain(channels, channels, 6, form=form), steps=8, trace="none")


@pytest.mark.parametrize("channels", [65528, 65536, 65537])
def test_channels_beside_those_that_two_bytes_number(channels: int) -> None:
    network = chain(1, channels, 2)
    codes = np.zeros((1, 4, channels), np.uint8)
    codes[0, 1, -3:], codes[0, 2] = 1, 1
    both(network, codes, None, "none")


@pytest.mark.parametrize("mode", SIGN_MODES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_of_all_bits(bits: int, mode: str) -> None:
    for full in (False, True):
        wired = Wired(bits, 20)
        wired.lif("n", 14)
        wired.connect(["input"], "n", bits=bits, mode=mode, exponent=8 - bits, full=full)
        wired.connect([("n", 1)], "n", bits=bits, mode=mode, exponent=6 - bits, full=full)
        equal(wired.network("n"), steps=15)


@pytest.mark.parametrize("delays", [(0,), (0, 1, 3), (0, 2, 5), (0, 30), (127, 128, 129), (24, 25, 26)])
def test_synapses_with_delays_into_one_population(delays: tuple[int, ...]) -> None:
    network = delayed(len(delays), delays)
    equal(network)
    equal(network, steps=140, trace="none")


@pytest.mark.parametrize("delay", [2, 3, 130])
def test_feedback_through_two_populations(delay: int) -> None:
    network = two_way(delay, delay)
    equal(network)
    for steps in (129, 200):
        equal(network, steps=steps, trace="none")


@pytest.mark.parametrize(
    "kinds", [("lif", "lif"), ("lif", "ternary"), ("graded", "graded", "lif"), ("lif", "lif", "lif", "lif")]
)
@pytest.mark.parametrize("form", [FixedPoint(1, 0, signed=False), FixedPoint(4)], ids=["binary", "graded"])
def test_sums_of_several_sources(kinds: tuple[str, ...], form: FixedPoint) -> None:
    network = summed(len(kinds), kinds, form)
    for trace in ("states", "none"):
        equal(network, trace=trace)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("spike", ["binary", "ternary", "graded", "stochastic"])
def test_several_outputs_in_loops(spike: str, outputs: int) -> None:
    equal(looped(9, spike, outputs, 9))


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 33])
@pytest.mark.parametrize("spike", ["binary", "ternary", "graded", "stochastic"])
def test_several_outputs_in_loops_of_other_sizes(spike: str, size: int) -> None:
    for outputs in (1, 2, 3):
        for trace in ("none", "states"):
            equal(looped(size, spike, outputs, size), trace=trace)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 5, 33, 65])
def test_every_block_has_parameters(size: int, outputs: int) -> None:
    """Blocks behind the last neuron too: several outputs are padded to the widest blocks."""
    wired = Wired(size, 3)
    wired.spiking("n", size, "binary", outputs=outputs)
    wired.connect(["input"], "n")
    for made in compile_network(wired.network("n"), "states").populations.values():
        assert made.layout.own.shape[0] == made.blocks
        assert made.blocks * made.form.lanes == made.wires.width


def test_one_neuron_alone() -> None:
    for spike in ("binary", "graded"):
        for outputs in (1, 2):
            equal(looped(1, spike, outputs, 1), samples=1)


@pytest.mark.parametrize("family", [LIF, LOUD_LIF, STATE_SPACE, DENSE_STATES], ids=lambda family: family.name)
def test_populations_of_one_and_two_neurons(family: Family) -> None:
    for size in (1, 2):
        equal(random_case(size, family, steps=30, sizes=(size, size)).network)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_windows_of_one_neuron(window: int) -> None:
    """Every parameter is then the same for all neurons."""
    for size in (1, 2):
        rng = np.random.default_rng(window)
        builder = Builder(rng, *random_inputs(rng, 30, 2))
        for name, family, source in (
            ("first", layer(rng, window, False, False), "input"),
            ("gate", gates(window, False), "first"),
            ("last", layer(rng, window, True, False), "gate"),
        ):
            builder.add(name, family, size, [source])
        equal(builder.case("", "last").network)


@pytest.mark.parametrize(
    "network",
    [
        chain(1, 5, 8, 33),
        two_way(2),
        delayed(3, (0, 2, 128)),
        delayed_paths(3),
        looped(4, "graded", 2),
        windowed_case(4).network,
    ],
    ids=["chain", "feedback", "delays", "delayed paths", "graded loops", "windows"],
)
def test_steps_beside_those_that_run_together(network: QuantizedNetwork) -> None:
    for steps in STEPS:
        equal(network, samples=2, steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_steps_of_more_windows(seed: int) -> None:
    network = windowed_case(seed).network
    for steps in STEPS:
        equal(network, samples=4, steps=steps)


@pytest.mark.parametrize("seed", range(2))
def test_lengths_that_end_within_a_window(seed: int) -> None:
    network = windowed_case(seed, steps=20).network
    codes = random_codes(network, seed, 20, 20)
    both(network, codes, random_lengths(seed, 20, 20))
    both(network, codes, None, "none")


def test_sources_that_cannot_be_summed_are_named() -> None:
    """Vectors hold the outputs of a neuron apart: a sum over unlike numbers of outputs has no order in memory."""
    wired = Wired(0, 10)
    wired.spiking("a", 5, "binary", outputs=2)
    wired.connect(["input"], "a")
    wired.lif("b", 4)
    wired.connect(["a", "input"], "b")
    with pytest.raises(NotTraceable, match=r"'b\.0'"):
        equal(wired.network("b"))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_long_samples_of_a_model(model: str) -> None:
    equal(MODELS[model](7).network, samples=2, steps=150, trace="none")
