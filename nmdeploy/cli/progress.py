"""Progress on a terminal, and the summary of a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from nmdeploy.analysis.accuracy import accuracies, share_text
from nmdeploy.analysis.metrics import overflows
from nmdeploy.cli.interruption import remembered
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.recording.types import Totals
from nmdeploy.reports.verification import overflow_line, steps_text
from nmdeploy.samples.stored import join_names

BAR_WIDTH = 16  # leaves room for all the rest in 80 columns


@contextmanager
def progress(description: str, unit: str = "samples") -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr, if that is a terminal: samples done, samples per second, time gone and time left.

    Yield a function of the number of samples, or of another `unit`, done, and of that of all. What it was called with
    last is said if the command is interrupted.
    """
    with _bar(description, unit) as show, remembered(unit) as remember:

        def advance(done: int, total: int) -> None:
            remember(done, total)
            if show is not None:
                show(done, total)

        yield advance


@contextmanager
def _bar(description: str, unit: str) -> Iterator[Callable[[int, int], object] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(speed_text(task.finished_speed or task.speed, unit))

    what, times = TextColumn("{task.description}"), (TimeElapsedColumn(), TimeRemainingColumn(compact=True))
    columns = (SpinnerColumn(), what, BarColumn(BAR_WIDTH), MofNCompleteColumn(), Speed(), *times)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total, refresh=not done)


def speed_text(speed: float | None, unit: str = "samples") -> str:
    """Return samples, or another unit, per second, to three digits."""
    if speed is None:
        return f"- {unit}/s"
    digits = max(0, 2 - math.floor(math.log10(speed))) if speed > 0 else 0
    return f"{speed:,.{digits}f} {unit}/s"


def recording_lines(network: QuantizedNetwork, totals: Totals, others: Sequence[str] = ()) -> Iterator[str]:
    """Yield a summary of a run: size, accuracy, spike rates, overflows.

    Without labels it names the `others`, the arrays that were not read: one of them may be meant.
    """
    steps = steps_text(totals.samples, totals.steps, totals.valid_steps)
    yield f"{totals.samples} samples of {steps} on {totals.backend}, latency {totals.latency} steps"
    if totals.accuracy is not None:
        yield f"accuracy {share_text(accuracies(totals.samples, totals.correct, None), 'quantized')}"
    else:
        held = f"; the file also holds {join_names(others)}" if others else ""
        yield f"accuracy not available (no array 'labels'{held})"
    for name, neuron in network.populations.items():
        if "spikes" in totals.metrics(name) and neuron.spiking:
            rate = totals.total(name, "spikes") / (totals.valid_steps * neuron.output_size)
            yield f"{name}: spike rate {rate:.4f} per output and step"
    counted = overflows(network, totals)
    if len(counted) == len(network.populations):
        yield overflow_line(counted)
    else:
        yield f"overflows: not counted by backend {totals.backend}"
