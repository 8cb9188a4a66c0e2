"""Options of the command line that say how a source is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nmdeploy.network.read_options import AXES, DECAYS, FRAMEWORKS, RESETS, ReadOptions, parse_resets

F = TypeVar("F", bound=Callable[..., Any])
axes_option = click.option(
    "--axes",
    type=click.Choice(AXES),
    default=None,
    help="Order of the axes of --data: samples N, steps T, channels C.  [default: the model's, else NTC]",
)
READOUTS = ("sum", "last", "max", "mean", "membrane-last", "membrane-max", "membrane-sum")
OPTIONS = (
    click.option("--from", "framework", type=click.Choice(FRAMEWORKS), help="Framework that exported the NIR file."),
    click.option(
        "--reset",
        "resets",
        multiple=True,
        metavar="[NODE=]RULE",
        help=f"Reset of all populations, or of one: {', '.join(RESETS)}. Can be repeated.",
    ),
    click.option("--decay", type=click.Choice(DECAYS), help="Decay per step: 1 - dt/tau, or exp(-dt/tau)."),
    click.option("--dt", type=float, default=None, help="Seconds per step, if the file holds none."),
    click.option("--input-bits", type=int, default=None, help="Bits per input, if the file holds none."),
    click.option("--input-frac", type=int, default=None, help="Fraction bits of them.  [default: chosen from --data]"),
    click.option(
        "--readout",
        type=click.Choice(READOUTS),
        default=None,
        help="Rule that makes one value per class of the outputs of all steps, or of the membranes before their reset.",
    ),
    axes_option,
    click.option(
        "--weights",
        type=click.Path(path_type=str),
        default=None,
        help="State dict of a module that is named, package.module:attribute.",
    ),
)


def reading_options(command: F) -> F:
    """Add the options to a command, which receives them as one argument `reading`, a `ReadOptions`."""

    @functools.wraps(command)
    def read(*args: Any, resets: tuple[str, ...], **values: Any) -> Any:
        fields = {name: values.pop(name) for name in ReadOptions.__dataclass_fields__ if name != "resets"}
        return command(*args, reading=ReadOptions(resets=parse_resets(resets), **fields), **values)

    for option in reversed(OPTIONS):
        read = option(read)
    return read  # type: ignore[return-value]
