"""The command ``nmdeploy warmup``: it compiles kernels before anyone waits for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nmdeploy.engine.llvm.machine import cache_folder
from nmdeploy.engine.run.warmup import warm
from nmdeploy.pipeline import read


def warmed(models: Sequence[str] = ()) -> Iterator[str]:
    """Compile the kernels of model files, by default of the demo's model; yield one line per model."""
    from nmdeploy.cli.demo import demo_model

    for name, network in [(path, read(path)) for path in models] or [("demo", demo_model())]:
        done = warm(network)
        yield f"{name}: {done.compiled} kernels compiled, {done.available} were available in {cache_folder()}"
