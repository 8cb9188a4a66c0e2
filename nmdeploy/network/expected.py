"""Objects of the right kind where a function takes one: else one line that says what was given, and what to do."""

from __future__ import annotations

import os
from typing import Any

from nmdeploy.errors import BadOption
from nmdeploy.network.graph import Graph, Input
from nmdeploy.network.network import Network, QuantizedNetwork


def require_float(network: Any, verb: str) -> None:
    """`BadOption` unless the object is a float network; `verb` is the function that takes it."""
    if isinstance(network, Network):
        return
    if isinstance(network, (str, os.PathLike)):
        path = os.fspath(network)
        raise BadOption(f"{verb}: {path!r} is a path: load it first, nmdeploy.{verb}(nmdeploy.load({path!r}), ...)")
    if isinstance(network, QuantizedNetwork):
        raise BadOption(f"{verb}: takes a float Network, this is a QuantizedNetwork: give the network before quantize")
    raise BadOption(f"{verb}: takes a Network, not an object of type {_kind(network)}: make one with nmdeploy.load")


def require_quantized(model: Any, verb: str) -> None:
    """`BadOption` unless the object is a quantized network; `verb` is the function that takes it."""
    if isinstance(model, QuantizedNetwork):
        return
    if isinstance(model, (str, os.PathLike)):
        path = os.fspath(model)
        raise BadOption(f"{verb}: {path!r} is a path: read it first, nmdeploy.{verb}(nmdeploy.read({path!r}), ...)")
    if isinstance(model, Network):
        raise BadOption(f"{verb}: takes a quantized network, this is a float Network: call nmdeploy.quantize first")
    raise BadOption(
        f"{verb}: takes a QuantizedNetwork, not an object of type {_kind(model)}: make one with nmdeploy.quantize"
    )


def require_path(path: Any, verb: str, instead: str) -> None:
    """`BadOption` unless the value is a path; `instead` says what to do with an object."""
    if not isinstance(path, (str, os.PathLike)):
        raise BadOption(f"{verb}: takes a path, not an object of type {_kind(path)}: {instead}")


def input_of(expected: Any, verb: str) -> Input:
    """Return the input that samples are checked against: of a network its own."""
    if isinstance(expected, Graph):
        return expected.input
    if isinstance(expected, Input):
        return expected
    raise BadOption(f"{verb}: takes samples and the network or its input, not {_kind(expected)}: give the network")


def _kind(value: Any) -> str:
    return type(value).__name__
