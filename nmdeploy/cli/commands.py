"""The command line: options in, calls of `nmdeploy.pipeline`, text out.

Heavy modules are imported inside the commands.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import click

from nmdeploy import __version__
from nmdeploy.cli.process import OneLineErrors
from nmdeploy.cli.reading_options import axes_option, reading_options
from nmdeploy.cli.resources import resource_options


class _File(click.Path):
    """A path that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name is empty: give the path of a file.", param, ctx)
        return super().convert(value, param, ctx)


FILE = _File(dir_okay=True, path_type=str)


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nmdeploy")
def main() -> None:
    """Deploy trained spiking networks: quantize, export, verify bit for bit, report.

    \b
    Typical use:
      nmdeploy check net.safetensors --profile loihi2
      nmdeploy export net.safetensors --profile loihi2 --data calibration.npz -o model.nir
      nmdeploy verify model.nir --data test.npz --samples 20
      nmdeploy report model.nir --data test.npz -o report.md
      nmdeploy diagnose model.nir --checkpoint net.safetensors --data test.npz

    Shell completion: eval "$(_NMDEPLOY_COMPLETE=bash_source nmdeploy)"   (or zsh_source, fish_source)
    """


def _complete_profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from nmdeploy.hardware.profile_toml import profile_names

    return [name for name in profile_names() if name.startswith(incomplete)]


def _complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from nmdeploy.models.catalog import neuron_models

    return [name for name in neuron_models() if name.startswith(incomplete)]


def _complete_backends(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from nmdeploy.backends import backends

    given, comma, last = incomplete.rpartition(",")
    return [f"{given}{comma}{name}" for name in sorted(backends()) if name.startswith(last)]


profile_option = functools.partial(
    click.option, "--profile", shell_complete=_complete_profiles, help="Hardware profile: a name, or a .toml file."
)
data_option = functools.partial(
    click.option,
    "--data",
    type=FILE,
    help=".npz, .h5 or .pt with inputs (samples, steps, channels), optionally labels and lengths; or .npy with inputs.",
)
dt_option = click.option("--dt", type=float, default=None, help="Seconds per step, if the file holds none.")
checkpoint_option = click.option(
    "--checkpoint", type=FILE, default=None, help="The float network that MODEL was exported from, to compare with."
)


recording_option = click.option(
    "--recording", type=FILE, default=None, help="A recording of MODEL on the same --data: saves a run."
)


CONVERSION = (
    data_option(default=None),
    click.option("--weight-bits", type=int, default=None, help="Bits per weight.  [default: the profile's]"),
    click.option("--state-bits", type=int, default=None, help="Bits per state.  [default: the profile's]"),
    click.option("--coefficient-bits", type=int, default=None, help="Bits per coefficient.  [default: the profile's]"),
    click.option(
        "--coefficient-frac",
        type=int,
        default=None,
        help="Fraction bits of A's coefficients.  [default: the profile's]",
    ),
    click.option(
        "--rounding",
        "state_rounding",
        type=click.Choice(["per-product", "per-sum"]),
        default=None,
        help="Round each product of a state's update, or their sum once.  [default: the profile's]",
    ),
    click.option(
        "--window-input",
        type=click.Choice(["exact", "scaled"]),
        default="exact",
        show_default=True,
        help="Keep an input that is constant over a window in a register, or scale it (approximate).",
    ),
    reading_options,
    click.option(
        "--expect", type=FILE, default=None, help=".npy of the source's outputs or readout on --data, to compare with."
    ),
    click.option(
        "--expect-accuracy", type=float, default=None, help="Accuracy that the float network must have on --data."
    ),
)


def conversion_options(command: Any) -> Any:
    """Add the options of a conversion, which `check` and `export` share."""
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(CONVERSION), command)


@main.command()
@click.argument("file", type=FILE)
@profile_option(default="loihi2", show_default=True)
@conversion_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    file: str,
    profile: str,
    data: str | None,
    window_input: str,
    reading: Any,
    expect: str | None,
    expect_accuracy: float | None,
    as_json: bool,
    **formats: Any,
) -> None:
    """Check which nodes of FILE can be deployed.

    FILE may be the name of an object, package.module:attribute. A torch module runs on the inputs of --data. The
    options are those of export, and so is the result: each line says of a node whether it can be deployed, what is
    lost, or why it cannot. Nothing is written. The exit code is 1 if a node cannot be deployed.
    """
    from nmdeploy import pipeline
    from nmdeploy.checking import render
    from nmdeploy.cli.progress import progress

    options, expected = pipeline.FormatOverrides(**formats), pipeline.Expected(expect, expect_accuracy)
    how = {"options": options, "window_input": window_input, "reading": reading, "expected": expected}
    with progress("check", "populations") as advance:
        result = pipeline.check(file, profile, data=data, **how, on_progress=advance)
    click.echo(json.dumps(result.to_json(), indent=2) if as_json else render(result))
    if not result.deployable:
        sys.exit(1)


@main.command()
@click.argument("checkpoint", type=FILE)
@profile_option(default="loihi2", show_default=True)
@click.option("-o", "--output", type=FILE, required=True, help="The model file to write (.nir).")
@conversion_options
@resource_options
def export(
    checkpoint: str,
    profile: str,
    output: str,
    data: str | None,
    reading: Any,
    window_input: str,
    expect: str | None,
    expect_accuracy: float | None,
    **formats: Any,
) -> None:
    """Quantize a network and write it as a NIR file.

    CHECKPOINT is a file of nmdeploy.save or nmdeploy.models, a NIR graph, or the name of a torch module or of a
    function that makes it, package.module:attribute; its state dict goes to --weights. A module is compared with its
    import. The profile gives the widths of the integers.

    The exit code is 1, and nothing is written, if the import computes something else than the module or --expect.
    """
    from nmdeploy import pipeline
    from nmdeploy.cli.progress import progress
    from nmdeploy.reports.verification import import_lines, reading_lines

    options = pipeline.FormatOverrides(**formats)
    expected = pipeline.Expected(expect, expect_accuracy)
    how = {"reading": reading, "expected": expected}
    with progress("export", "populations") as advance:
        made = pipeline.export(checkpoint, output, profile, data, options, window_input, **how, on_progress=advance)
    target = made.mapped.profile
    for line in (*reading_lines(made.network.read_as), *import_lines(made.network.read_as)):
        click.echo(line)
    click.echo(f"{output}: {len(made.network.populations)} populations on {len(made.mapped.cores)} cores of {target}")
    for note in made.notes:
        click.echo(f"{'warning' if note in made.assessment.warnings else 'note'}: {note}", err=True)


@main.command()
@click.argument("model", type=FILE)
@data_option(required=True)
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    shell_complete=_complete_backends,
    help="auto, compiled, reference (NumPy) or lava: all give the same values. auto takes compiled or reference.",
)
@click.option(
    "--trace",
    type=click.Choice(["none", "spikes", "states"]),
    default="none",
    show_default=True,
    help="Record of every layer and step: nothing, its spikes, or spikes and states.",
)
@axes_option
@click.option("--samples", type=int, default=None, help="Run only the first samples, this many.  [default: all]")
@click.option("--threads", type=int, default=None, help="Most threads that run samples.  [default: one per processor]")
@click.option("-o", "--output", type=FILE, required=True, help="The recording to write (.h5).")
@resource_options
def simulate(model: str, data: str, output: str, **options: Any) -> None:
    """Run MODEL on samples and write a recording.

    The recording holds outputs, classes and event counts, and with --trace spikes and states. Samples are read, and the
    recording is written, during the run: neither has to fit in memory.
    """
    from nmdeploy import pipeline
    from nmdeploy.cli.progress import progress, recording_lines

    with progress("simulate") as advance:
        made = pipeline.simulate(model, data, output, on_progress=advance, **options)
    for line in recording_lines(made.network, made.totals, made.others):
        click.echo(line)
    click.echo(f"recording: {output}")


@main.command()
@click.argument("models", nargs=-1, type=FILE, metavar="[MODEL]...")
def warmup(models: tuple[str, ...]) -> None:
    """Compile the kernels of MODELs, by default of the demo's model.

    Later runs take them from the cache folder, which is NMDEPLOY_CACHE or the user's, instead of compiling.
    """
    from nmdeploy.cli.warmup import warmed

    for line in warmed(models):
        click.echo(line)


@main.command()
@click.argument("model", type=FILE)
@data_option(required=True)
@click.option(
    "--against",
    default="lava",
    show_default=True,
    shell_complete=_complete_backends,
    help="Backends to compare with, separated by commas.",
)
@checkpoint_option
@dt_option
@axes_option
@click.option("--samples", type=int, default=None, help="Compare this many samples value by value.  [default: all]")
@recording_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@resource_options
def verify(model: str, data: str, against: str, as_json: bool, checkpoint: str | None, **options: Any) -> None:
    """Compare MODEL bit for bit with Lava.

    Every spike and every state of every step is compared, with Lava or the backends of --against. The exit code is 1
    if one value differs.
    """
    from nmdeploy import pipeline
    from nmdeploy.cli.progress import progress
    from nmdeploy.reports.verification import verification_lines

    names = [name.strip() for name in against.split(",")]
    with progress("verify") as advance:
        result = pipeline.verify(model, data, names, checkpoint, on_progress=advance, **options)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        for line in verification_lines(result):
            click.echo(line)
    if not result.equal:
        sys.exit(1)


@main.command()
@click.argument("model", type=FILE)
@data_option(required=True)
@checkpoint_option
@dt_option
@click.option("--samples", type=int, default=None, help="Run only the first samples, this many.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diagnose(model: str, data: str, checkpoint: str | None, as_json: bool, **options: Any) -> None:
    """Say which layer of MODEL is far off, and why.

    With --checkpoint, tensors of the integers are compared with the float network's, and restored one at a time.
    Without it, only the integers are examined. The options that would help come last.
    """
    from nmdeploy import pipeline
    from nmdeploy.cli.progress import progress
    from nmdeploy.reports.diagnosis import diagnosis_lines

    with progress("diagnose") as advance:
        result = pipeline.diagnose(model, data, checkpoint, on_progress=advance, **options)
    for line in [json.dumps(result.to_json(), indent=2)] if as_json else diagnosis_lines(result):
        click.echo(line)


@main.command()
@click.argument("model", type=FILE)
@data_option(required=True)
@checkpoint_option
@dt_option
@profile_option(default=None)
@axes_option
@recording_option
@click.option("-o", "--output", type=FILE, default=None, help="Report file: .json, .csv or .md.  [default: terminal]")
@resource_options
def report(model: str, data: str, checkpoint: str | None, output: str | None, **options: Any) -> None:
    """Report operations, memory, energy and use of the chip per layer."""
    from nmdeploy import pipeline
    from nmdeploy.cli.progress import progress
    from nmdeploy.reports import emit

    with progress("report") as advance:
        result = pipeline.report(model, data, floats=checkpoint, output=output, on_progress=advance, **options)
    if output is None:
        emit(result)
    else:
        click.echo(f"report: {output}")


@main.command()
@click.argument("file", type=FILE)
@click.option("--verify", is_flag=True, help="Compute the NIR primitives of a model again, and compare them.")
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: str, verify: bool, reading: Any, as_json: bool) -> None:
    """Describe what a file holds.

    FILE is a model, another NIR graph, a checkpoint, a recording or samples.
    """
    from nmdeploy.cli.inspect import describe_file, render

    described = describe_file(file, verify, reading)
    click.echo(json.dumps(described, indent=2) if as_json else render(described))


@main.command()
@click.argument("name", required=False, shell_complete=_complete_profiles)
def profiles(name: str | None) -> None:
    """List the hardware profiles, or print one.

    With NAME, every figure is printed with its source.
    """
    from nmdeploy.cli.profiles import details, listing
    from nmdeploy.hardware.profile_toml import load_profile

    for line in listing() if name is None else details(load_profile(name)):
        click.echo(line)


@main.command()
@click.argument("name", required=False, shell_complete=_complete_models)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(name: str | None, as_json: bool) -> None:
    """List the trainable models, or describe one.

    With NAME: its equation, options and source, what was chosen here, and how it maps to hardware.
    """
    from nmdeploy.cli.models import details, listing, model_json
    from nmdeploy.models.catalog import neuron_model, neuron_models

    if as_json:
        chosen = (
            [model_json(each) for each in neuron_models().values()] if name is None else model_json(neuron_model(name))
        )
        click.echo(json.dumps(chosen, indent=2))
        return
    for line in listing() if name is None else details(neuron_model(name)):
        click.echo(line)


@main.command()
@click.option("-o", "--output", type=FILE, default="build/demo", show_default=True, help="Folder for the results.")
@click.option(
    "--samples", type=int, default=20, show_default=True, help="Samples to compare with Lava, value by value."
)
def demo(output: str, samples: int) -> None:
    """Run the whole chain on handwritten digits.

    It quantizes, exports, simulates, verifies and reports, then lists the files that it wrote and what to do next.
    """
    from nmdeploy.cli.demo import run_demo

    if not run_demo(output, samples, say=click.echo):
        sys.exit(1)


@main.command()
def doctor() -> None:
    """List what is installed and what is missing."""
    from nmdeploy.cli.doctor import findings

    for line in findings():
        click.echo(line)


if __name__ == "__main__":
    main()
