"""The float network that a model came from, and its accuracies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmdeploy.analysis.accuracy import accuracies
from nmdeploy.analysis.provenance import load_as_exported, load_origin, require_origin, with_input_of
from nmdeploy.errors import BadOption
from nmdeploy.network.network import Network, QuantizedNetwork
from nmdeploy.pipeline.arguments import Floats, Model
from nmdeploy.quantization.window_input import send_once
from nmdeploy.recording.types import Totals
from nmdeploy.running import float_correct
from nmdeploy.samples.source import Data, SampleFile


def floats_of(floats: Floats | None, model: Model, network: QuantizedNetwork, dt: float | None) -> Network | None:
    """Return the float network that a model came from, read as its export read it; refuse another one."""
    if floats is None:
        if dt is not None:
            raise BadOption(f"--dt {dt}: is the time step of --checkpoint: leave it out, or give both")
        return None
    if not isinstance(floats, (str, Path)):
        found = with_input_of(load_as_exported(floats, network, dt), network)
        require_origin(network, found)
        return found
    return load_origin(floats, model if isinstance(model, (str, Path)) else None, network, dt)


def in_form_of(quantized: QuantizedNetwork, network: Network) -> Network:
    """Return the float network with the form of windows that its integers have."""
    once, already = (any(n.send_once for n in of.populations.values()) for of in (quantized, network))
    return send_once(network)[0] if once and not already else network


def accuracies_of(source: Data | SampleFile, totals: Totals, floats: Network | None) -> dict[str, Any]:
    """Return the accuracies of a run and of its float network."""
    known = None if floats is None else float_correct(floats, source.limited(totals.samples))
    return accuracies(totals.samples, totals.correct, known)
