"""Lava, the independent executor: a worker on Python 3.10 builds Processes from the model file and runs them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy import __version__
from nmdeploy.backends._lava_python import LAVA_VERSION
from nmdeploy.backends._lava_worker import LavaJob, run_jobs
from nmdeploy.errors import LavaFailed
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.base import IntArray, QuantizedNeuron
from nmdeploy.recording.types import Layer, Recording, join

NAMES = ("lava",)
WHOLE = True  # each call starts a worker
START_SECONDS, STEP_SECONDS, JOB_SECONDS = 300.0, 0.05, 5.0


def run(
    network: QuantizedNetwork,
    inputs: IntArray,
    *,
    lengths: IntArray | None = None,
    trace: str = "none",
    on_progress: Callable[[int], None] | None = None,
) -> Recording:
    """Run in Lava; parameters as for the reference. Counts only spikes: Lava reports nothing else.

    With windows, samples of each length are run by themselves: a window must not see what follows its sample.
    """
    done = (lambda finished, jobs: on_progress(len(inputs) * finished // jobs)) if on_progress else None
    if lengths is None or not network.timing.drain_steps:
        return run_many([(network, inputs)], lengths=[lengths], trace=trace, on_progress=done)[0]
    groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    jobs = [(network, inputs[which, : lengths[which[0]]]) for which in groups]
    recordings = run_many(jobs, trace=trace, on_progress=done)
    return join(list(zip(groups, recordings, strict=True)), inputs.shape[1])


def run_many(
    jobs: Iterable[tuple[QuantizedNetwork, IntArray]],
    *,
    lengths: Iterable[IntArray | None] | None = None,
    trace: str = "states",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Recording]:
    """Run several networks in one worker, which starts once.

    Raises
    ------
    LavaUnavailable, LavaFailed
        The second also if the worker exceeds its time limit, which grows with the number of steps.
    """
    jobs = list(jobs)
    valid = [None] * len(jobs) if lengths is None else list(lengths)
    with tempfile.TemporaryDirectory(prefix="nmdeploy-models-") as folder:
        described = [_job(Path(folder) / f"{i}.nir", *job, trace) for i, job in enumerate(jobs)]
        steps = sum(inputs.shape[0] * (inputs.shape[1] + len(network.nodes)) for network, inputs in jobs)
        limit = START_SECONDS + steps * STEP_SECONDS + JOB_SECONDS * len(jobs)
        try:
            results = run_jobs(described, timeout=limit, on_progress=on_progress)
        except LavaFailed as error:
            raise LavaFailed(str(error).replace(f"{folder}/", "model "), error.traceback) from None
    return [
        _recording(network, result, _lengths(length, inputs), trace)
        for (network, inputs), result, length in zip(jobs, results, valid, strict=True)
    ]


def _job(path: Path, network: QuantizedNetwork, inputs: IntArray, trace: str) -> LavaJob:
    from nmdeploy.nir_io import write

    write(network, path)
    return LavaJob(path, inputs, "states" if network.traces_states(network.output, trace) else "spikes")


def _lengths(lengths: IntArray | None, inputs: IntArray) -> IntArray:
    return np.full(len(inputs), inputs.shape[1], np.int64) if lengths is None else lengths


def _recording(
    network: QuantizedNetwork, arrays: Mapping[str, npt.NDArray[Any]], lengths: IntArray, trace: str
) -> Recording:
    populations = network.populations
    first = next(iter(arrays.values()))
    valid = np.arange(first.shape[1]) < lengths[:, None]
    output = populations[network.output]
    sent = arrays[f"{network.output}|{'spikes' if output.spiking else output.recorded[0]}"]
    states = _states(network.output, output, arrays, valid) if network.reads_membrane else {}
    values, spiking = network.output_values(_kept(sent, valid).astype(_sent_as(output)), states)
    return Recording(
        output=values,
        spiking=spiking,
        layers={name: _layer(name, neuron, arrays, valid, trace) for name, neuron in populations.items()},
        lengths=lengths,
        latency=network.latency,
        backend=NAMES[0],
        version=f"lava-nc {LAVA_VERSION}, nmdeploy {__version__}",
    )


def _layer(
    name: str, neuron: QuantizedNeuron, arrays: Mapping[str, npt.NDArray[Any]], valid: npt.NDArray[Any], trace: str
) -> Layer:
    spikes: npt.NDArray[Any] | None = None
    if neuron.spiking:
        spikes = _kept(arrays[f"{name}|spikes"], valid).astype(_sent_as(neuron))
    counts = {} if spikes is None else {"spikes": (spikes != 0).sum((1, 2), dtype=np.int64)}
    states = _states(name, neuron, arrays, valid) if trace == "states" else {}
    return Layer(spikes=spikes if trace != "none" else None, states=states, counts=counts)


def _states(
    name: str, neuron: QuantizedNeuron, arrays: Mapping[str, npt.NDArray[Any]], valid: npt.NDArray[Any]
) -> dict[str, npt.NDArray[Any]]:
    return {state: _kept(arrays[f"{name}|{state}"], valid).astype(np.int64) for state in neuron.recorded}


def _sent_as(neuron: QuantizedNeuron) -> type:
    """Return the type of outputs: bool for spikes, integers for signed and graded codes and values."""
    return bool if neuron.emits == "binary" else np.int64


def _kept(values: npt.NDArray[Any], valid: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(values * valid.reshape(*valid.shape, *[1] * (values.ndim - 2)))
