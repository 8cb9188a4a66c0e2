"""The chain that the command line calls: load, quantize, export, run, simulate, verify, report."""

from __future__ import annotations

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
from nmdeploy.pipeline.verification import verify
from nmdeploy.samples.source import Data, check_samples, load_data, open_data

__all__ = [
    "Data",
    "Expected",
    "Exported",
    "FloatRun",
    "FormatOverrides",
    "Job",
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
