"""What the command line shows on a terminal: progress, and the lines after a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nmdeploy.metrics import overflows
from nmdeploy.network import QuantizedNetwork
from nmdeploy.recording import Recording
from nmdeploy.reports.verification import overflow_line
from nmdeploy.samples import Data
from nmdeploy.verification import accuracy


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on stderr, if that is a terminal; yields what to call with the number of samples done."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    what = TextColumn("{task.description}")
    columns = (SpinnerColumn(), what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


def recording_lines(network: QuantizedNetwork, recording: Recording, data: Data) -> Iterator[str]:
    """A summary of a recording: size, accuracy where labels were given, spike rates, overflows."""
    size = f"{recording.samples} samples of {recording.steps} steps"
    yield f"{size} on {recording.backend}, latency {recording.latency} steps"
    share = accuracy(recording.output, network.readout, recording.lengths, data.labels)
    if share is not None:
        yield f"accuracy {share:.4f}"
    steps = int(recording.lengths.sum())
    for name, layer in recording.layers.items():
        if "spikes" in layer.counts and network.populations[name].spiking:
            rate = recording.total(name, "spikes") / (steps * network.populations[name].output_size)
            yield f"{name}: spike rate {rate:.4f}"
    if all(set(network.populations[n].flags) <= set(layer.counts) for n, layer in recording.layers.items()):
        yield overflow_line(overflows(network, recording))
    else:
        yield f"overflows: not counted by backend {recording.backend}"
