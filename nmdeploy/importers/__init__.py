"""Importers, one file per source.

An importer module has ``SUFFIXES`` and ``load(path, options) -> Network``, with `ReadOptions`. It obeys every option,
or refuses it by name (`refuse_options`). It may have ``problems(path, options)``, which lists (node, kind, problem or
None) of a file whose nodes cannot all be imported, and nothing else. It may have ``recognizes(path) -> bool``, which
finds its files by their content, whatever their name ends with.

A module with ``TAKES_SAMPLE = True`` reads objects by running them: its `load_object` takes ``sample``, too.

It may read objects, too: with ``takes(source) -> bool``, and ``load_object(source, options, input_format=None) ->
Network`` for those that it takes. It recognizes them without importing their package (`nmdeploy._util.foreign`).

A third party registers a module under the entry point group ``nmdeploy.importers``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from nmdeploy._util.plugins import parts
from nmdeploy.errors import BadFile, BadOption
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers.python_names import is_name, named_object
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.network.read_options import FLAGS, ReadOptions
from nmdeploy.network.reading import Fact, Reading

__all__ = [
    *("importer_for", "importers", "is_name", "load", "no_problems", "refuse_options", "refuse_other_dt", "resolve"),
    *("takes_nothing", "takes_sample"),
]


def importers() -> dict[str, ModuleType]:
    """Importer modules by the suffix of the files they read."""
    return {suffix: module for module in _modules() for suffix in module.SUFFIXES}


def _modules() -> list[ModuleType]:
    defaults: dict[str, Any] = {"problems": no_problems, "takes": takes_nothing, "recognizes": recognizes_nothing}
    return parts(__name__, "SUFFIXES", "load", **defaults, TAKES_SAMPLE=False)


def no_problems(path: Path, options: ReadOptions = ReadOptions()) -> list[tuple[str, str, str | None]]:
    """Name no node: the `problems` of an importer that defines none."""
    return []


def importer_for(path: str | os.PathLike[str]) -> ModuleType:
    """The importer of a file, by its suffix or else its content; `BadFile` for a missing file, a folder or another."""
    known = importers()
    source = Path(path)
    if not source.exists():
        raise BadFile(f"{path}: there is no such file: check the path")
    if source.is_dir():
        raise BadFile(f"{path}: is a folder: give one of {', '.join(sorted(known))}")
    by_suffix = known.get(source.suffix)
    for module in _modules():
        if module is not by_suffix and module.recognizes(source):
            return module
    if by_suffix is None:
        raise BadFile(f"{path}: files of type {source.suffix!r} cannot be read: give one of {', '.join(sorted(known))}")
    return by_suffix


def load(
    source: Any,
    sample: Any = None,
    *,
    dt: float | None = None,
    input_format: FixedPoint | None = None,
    options: ReadOptions = ReadOptions(),
) -> Network:
    """Read a float network from a file, or make it of an object.

    Parameters
    ----------
    source : path, or object
        Of a checkpoint or NIR graph, whose suffix chooses the importer; ``package.module:attribute``, the name of an
        object or of a function that makes it; a ``nir.NIRGraph``; a torch module of `nmdeploy.models`, snnTorch,
        Norse, spikingjelly or Rockpool; a `Network`, which is returned as it is.
    sample : array or tensor, (samples, steps, channels), optional
        Inputs on which a module of a framework runs, to be followed and compared; random spikes if left out.
    dt : float, optional
        Seconds per step, for sources that hold none; `BadOption` if a source holds another one.
    input_format : FixedPoint, optional
        Number format of the inputs, for objects that hold none; `BadOption` if a source holds another one.
    options : ReadOptions
        What the source cannot say itself.
    """
    options = options if dt is None else replace(options, dt=dt)
    source = resolve(source, options)
    if sample is not None and not takes_sample(source):
        raise BadOption(f"sample: {type(source).__name__} needs none to be read: leave it out")
    if isinstance(source, Network):
        refuse_other_dt("the network", options.dt, source.dt)
        refuse_options("the network", options)
        network = source
    elif isinstance(source, (str, os.PathLike)):
        network = _with_options(importer_for(source).load(Path(source), options), str(source), options)
    else:
        given = {} if sample is None else {"sample": sample}
        made = _importer_of(source).load_object(source, options, input_format=input_format, **given)
        return _with_options(made, f"a {type(source).__name__}", options)
    if input_format not in (None, network.input.format):
        raise BadOption(
            f"input_format {input_format}: the source holds its own, {network.input.format}: leave input_format out"
        )
    return network


def _with_options(network: Network, source: str, options: ReadOptions) -> Network:
    """Return the network with the readout of an option; its reading keeps all options, and the order of axes."""
    read = network.read_as
    if options.axes is not None:
        read = read or Reading(source)
        axes = {**read.input, "axes": Fact(options.axes, "option")}
        read = replace(read, input=axes, options={**read.options, "axes": options.axes})
    if options.readout is None:
        return network if read is network.read_as else replace(network, read_as=read)
    if read is not None:
        read = replace(read, network={**read.network, "readout": Fact(options.readout, "option")})
    return replace(network, readout=options.readout, read_as=read)


def _importer_of(source: object) -> ModuleType:
    if isinstance(source, QuantizedNetwork):
        raise BadOption("a QuantizedNetwork is no source of a float network: use it as it is")
    for module in _modules():
        if module.takes(source):
            return module
    raise BadOption(
        f"an object of type {type(source).__name__} is no source of a network: give a path, a Network, a nir.NIRGraph, "
        "or a torch module of nmdeploy.models, snnTorch, Norse, spikingjelly or Rockpool"
    )


def resolve(source: Any, options: ReadOptions = ReadOptions()) -> Any:
    """Return the object of a name ``package.module:attribute``; any other source as it is."""
    return named_object(source, options.weights) if is_name(source) else source


def takes_sample(source: object) -> bool:
    """Return True for an object that is read by running it on a sample."""
    if isinstance(source, (Network, QuantizedNetwork, str, os.PathLike)):
        return False
    return any(module.takes(source) and module.TAKES_SAMPLE for module in _modules())


def takes_nothing(source: object) -> bool:
    """Refuse every object: the `takes` of an importer that defines none."""
    return False


def refuse_options(source: str | os.PathLike[str], options: ReadOptions, *obeyed: str) -> None:
    """Raise `BadOption` for an option that a source does not need; `obeyed`, time step and axes of the data pass."""
    for name, value in options.given().items():
        if name not in ("dt", "axes", *obeyed):
            raise BadOption(f"{FLAGS[name]} {value}: {source} says this itself: leave {FLAGS[name]} out")


def recognizes_nothing(path: Path) -> bool:
    """Recognize no file: the `recognizes` of an importer that defines none."""
    return False


def refuse_other_dt(path: str | os.PathLike[str], dt: float | None, stored: float) -> None:
    """Raise `BadOption` for a time step that differs from the one in the file."""
    if dt is not None and dt != stored:
        raise BadOption(f"--dt {dt}: {path} holds its own time step, {stored} s: leave --dt out")
