"""Importer of live torch modules of snnTorch, Norse, spikingjelly and Rockpool.

The module runs once on samples. What its layers receive and send says how they are connected; each layer's parameters
say what it computes. Then the network is compared with the module (`nmdeploy.importers.modules.comparison`). A module
that cannot be followed is refused with the name of the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from nmdeploy._util.foreign import attribute, class_in, is_instance
from nmdeploy.errors import BadData, BadFile, BadOption, ImportDiffers, UnsupportedParameter
from nmdeploy.fixedpoint import FixedPoint
from nmdeploy.importers import refuse_options
from nmdeploy.importers.modules import norse, rockpool, snntorch, spikingjelly
from nmdeploy.importers.modules.building import Built, build
from nmdeploy.importers.modules.comparison import ImportComparison, compare
from nmdeploy.importers.modules.forms import FORMS, find, run
from nmdeploy.importers.modules.samples import format_of, random_samples
from nmdeploy.importers.modules.tracing import Trace, copied
from nmdeploy.importers.readings import readout_words, with_reading
from nmdeploy.network.network import Network
from nmdeploy.network.read_options import ReadOptions
from nmdeploy.network.reading import By, Fact, Reading, describe_format
from nmdeploy.neurons.base import FloatArray

SUFFIXES: tuple[str, ...] = ()
TAKES_SAMPLE = True
FRAMEWORKS: tuple[Any, ...] = (snntorch, norse, spikingjelly, rockpool)
OBEYED = ("readout", "input_bits", "input_frac", "axes", "weights")
STEPS, SAMPLES = 32, 8
SINABS = (
    "uv run --no-project --python 3.11 --with sinabs==3.1.3 --with torch==2.13.0 python examples/export_sinabs.py "
    "NAME --data samples.npz -o net.nir --outputs outputs.npy"
)
"""The command that exports a network of Sinabs; the guide's, with the name of the network."""


def load(path: Path, options: ReadOptions = ReadOptions()) -> Network:
    """Refuse a file: this importer reads objects."""
    raise BadFile(f"{path}: is no file that holds a module: name the module, package.module:attribute")


def takes(source: object) -> bool:
    """Return True for a torch module."""
    return is_instance(source, "torch.nn", "Module")


def load_object(
    module: Any,
    options: ReadOptions = ReadOptions(),
    input_format: FixedPoint | None = None,
    sample: npt.ArrayLike | None = None,
) -> Network:
    """Return the float network of a module, compared with the module.

    Parameters
    ----------
    module : torch.nn.Module
        With neurons of one of the frameworks.
    options : ReadOptions
        Time step, readout, input format and axes of the sample.
    input_format : FixedPoint, optional
        Of the inputs; chosen by the sample if left out.
    sample : (samples, steps, channels), (steps, channels) of one sample, or (samples, channels), optional
        Inputs on which the module runs. The last are for a module that repeats its input over its own steps. Random
        spikes if left out.

    Raises
    ------
    UnsupportedParameter
        A layer cannot be deployed, or not be followed.
    BadData
        The module cannot be run on the sample.
    ImportDiffers
        The network computes other spikes than the module.
    """
    refuse_options("the module", options, *OBEYED)
    framework = _framework(module)
    copy = copied(module, double=True)
    form, trace, values = _traced(copy, framework, sample, options)
    dt, dt_by = _dt(framework, trace, options)
    number = input_format or format_of(values, options.input_bits, options.input_frac)
    shape = tuple(values.shape[2:])
    flat = _repeated(values, trace) if form == "static" else values
    flat = flat.reshape(*flat.shape[:2], -1)
    rounded = run(copied(module, double=False), framework, values, form, double=False)
    built = build(trace, shape, number, dt, options.readout)
    found = compare(built, trace, rounded, flat, _title(framework))
    if not found.equal and any(layer.subtracts_later for layer in built.layers.values()):
        built = build(trace, shape, number, dt, options.readout, exact=True)
        found = compare(built, trace, rounded, flat, _title(framework))
    if not found.equal:
        hint = "" if found.first is None else built.layers[found.first.layer].hint
        raise ImportDiffers(f"{found.line()}: {hint or 'describe the network with NetworkBuilder (docs/builder.md)'}")
    reading = _reading(module, framework, form, built, options, dt_by, found, trace, input_format is not None)
    return replace(built.network, read_as=reading)


def _framework(module: Any) -> ModuleType:
    if any(class_in(part, "sinabs") for _, part in module.named_modules()):
        raise UnsupportedParameter(
            f"module {type(module).__name__}: its neurons are of Sinabs, which needs an older nir than nmdeploy: "
            f"export it with {SINABS}, then nmdeploy export net.nir --from sinabs --data samples.npz --expect "
            "outputs.npy -o model.nir (docs/guides/from-spikingjelly-sinabs-rockpool.md)"
        )
    found = {fw.TITLE: fw for _, part in module.named_modules() for fw in FRAMEWORKS if fw.is_neuron(part)}
    if len(found) != 1:
        what = " and ".join(found) if found else "none that is known"
        raise UnsupportedParameter(
            f"module {type(module).__name__}: its neurons are of {what}; one of "
            f"{', '.join(f.TITLE for f in FRAMEWORKS)} can be read: describe the network with NetworkBuilder "
            "(docs/builder.md)"
        )
    return next(iter(found.values()))  # type: ignore[no-any-return]


def _title(framework: ModuleType) -> str:
    try:
        return f"{framework.TITLE} {metadata.version(framework.PACKAGE)}"
    except metadata.PackageNotFoundError:
        return str(framework.TITLE)


def _traced(module: Any, framework: ModuleType, sample: Any, options: ReadOptions) -> tuple[str, Trace, FloatArray]:
    """Return the form of the module, its run in float64, and the values it ran on, (samples, steps, ...)."""
    if sample is None:
        return random_samples(module, framework, SAMPLES, STEPS)
    detached = attribute(sample, "detach")
    values = np.asarray(detached().cpu().numpy() if detached else sample, np.float64)
    if values.ndim < 2 or not values.size or not np.isfinite(values).all():
        raise BadData(
            f"sample of shape {values.shape}: give finite values (samples, steps, channels), (steps, channels) or, for "
            "a module that repeats its input, (samples, channels)"
        )
    if values.ndim > 2:
        order = {"NTC": 1, "TNC": 0, "NCT": -1}[options.axes or "NTC"]
        moved = np.moveaxis(values, order, 1)
        form, trace = find(module, framework, moved)
        return form, trace, moved
    try:
        form, trace = find(module, framework, values[None], FORMS[:-1])
        return form, trace, values[None]
    except BadData:
        form, trace = find(module, framework, values[:, None], ("static",))
        return form, trace, values[:, None]


def _repeated(values: FloatArray, trace: Trace) -> FloatArray:
    if (values != values[:, :1]).any():
        raise BadData(
            "the module repeats one input over its own steps, but the steps of the sample differ: give the same "
            "input in every step, or one input alone, (samples, channels)"
        )
    return np.repeat(values[:, :1], trace.steps, 1)


def _dt(framework: ModuleType, trace: Trace, options: ReadOptions) -> tuple[float, By]:
    held = {float(dt) for name in trace.calls if (dt := attribute(trace.leaves[name], "dt")) is not None}
    if len(held) > 1:
        raise UnsupportedParameter(f"the layers have {len(held)} time steps dt, {sorted(held)}: give all the same")
    own = next(iter(held), None)
    if own is not None and options.dt not in (None, own):
        raise BadOption(f"--dt {options.dt}: the module has its own time step, {own} s: leave --dt out")
    if own is not None:
        return own, "source"
    return (options.dt, "option") if options.dt else (framework.DT, "assumed")


def _reading(
    module: Any,
    framework: ModuleType,
    form: str,
    built: Built,
    options: ReadOptions,
    dt_by: By,
    found: ImportComparison,
    trace: Trace,
    said: bool,
) -> Reading:
    network = built.network
    repeated = {"input": Fact("the input of a sample is repeated in every step", "source")} if form == "static" else {}
    rule: By = "option" if options.readout else "source" if built.said else "assumed"
    read = with_reading(
        network,
        f"{_title(framework)} module {type(module).__name__}",
        options=options,
        of_network={"dt": Fact(f"{network.dt:g} s", dt_by), "readout": Fact(readout_words(network), rule), **repeated},
        of_input={"format": Fact(describe_format(network.input.format), "option" if said else "assumed")},
        populations={
            name: {key: Fact(value, "source") for key, value in layer.facts.items()}
            for name, layer in built.layers.items()
        },
    )
    assert read.read_as is not None
    return replace(read.read_as, comparison=found.to_json(), notes=(*read.read_as.notes, *_numbers(trace)))


def _numbers(trace: Trace) -> Iterator[str]:
    """Yield a note on what the module takes out of tensors: what it makes of that is not followed."""
    if trace.numbers:
        yield (
            f"the module takes numbers or decisions out of its tensors ({', '.join(sorted(trace.numbers))}()): if they "
            "act on its result, the network holds those of these samples alone"
        )
