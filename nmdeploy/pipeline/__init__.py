"""The chain that the command line calls: load, quantize, export, run, simulate, verify, report.

Each name is imported on first use, so that a command imports only what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmdeploy.analysis.comparison import Verification
    from nmdeploy.analysis.expectation import Expected
    from nmdeploy.analysis.provenance import load_origin
    from nmdeploy.hardware.mapping import map_network
    from nmdeploy.hardware.profile_toml import load_profile
    from nmdeploy.importers import load
    from nmdeploy.importers.network_file import save
    from nmdeploy.job import Job
    from nmdeploy.network.float_run import FloatRun
    from nmdeploy.nir_io import read, write
    from nmdeploy.pipeline.conversion import Exported, FormatOverrides, check, choose_scales, export, quantize
    from nmdeploy.pipeline.execution import Simulated, run, simulate
    from nmdeploy.pipeline.reporting import diagnose, report
    from nmdeploy.pipeline.session import Session
    from nmdeploy.pipeline.verification import verify
    from nmdeploy.samples.source import Data, check_samples, load_data, open_data

MODULES = {
    "Data": "nmdeploy.samples.source",
    "Expected": "nmdeploy.analysis.expectation",
    "Exported": "nmdeploy.pipeline.conversion",
    "FloatRun": "nmdeploy.network.float_run",
    "FormatOverrides": "nmdeploy.pipeline.conversion",
    "Job": "nmdeploy.job",
    "Session": "nmdeploy.pipeline.session",
    "Simulated": "nmdeploy.pipeline.execution",
    "Verification": "nmdeploy.analysis.comparison",
    "check": "nmdeploy.pipeline.conversion",
    "check_samples": "nmdeploy.samples.source",
    "choose_scales": "nmdeploy.pipeline.conversion",
    "diagnose": "nmdeploy.pipeline.reporting",
    "export": "nmdeploy.pipeline.conversion",
    "load": "nmdeploy.importers",
    "load_data": "nmdeploy.samples.source",
    "load_origin": "nmdeploy.analysis.provenance",
    "load_profile": "nmdeploy.hardware.profile_toml",
    "map_network": "nmdeploy.hardware.mapping",
    "open_data": "nmdeploy.samples.source",
    "quantize": "nmdeploy.pipeline.conversion",
    "read": "nmdeploy.nir_io",
    "report": "nmdeploy.pipeline.reporting",
    "run": "nmdeploy.pipeline.execution",
    "save": "nmdeploy.importers.network_file",
    "simulate": "nmdeploy.pipeline.execution",
    "verify": "nmdeploy.pipeline.verification",
    "write": "nmdeploy.nir_io",
}
"""Module of each name."""
__all__ = [
    "Data",
    "Expected",
    "Exported",
    "FloatRun",
    "FormatOverrides",
    "Job",
    "Session",
    "Simulated",
    "Verification",
    "check",
    "check_samples",
    "choose_scales",
    "diagnose",
    "export",
    "load",
    "load_data",
    "load_origin",
    "load_profile",
    "map_network",
    "open_data",
    "quantize",
    "read",
    "report",
    "run",
    "save",
    "simulate",
    "verify",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__"])
