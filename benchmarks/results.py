"""The file `results.json`: the verdicts, and all that they were computed from."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, judge
from nmdeploy._util.system import processors

PACKAGES = ("nmdeploy", "numpy", "llvmlite", "torch", "snntorch", "norse", "spikingjelly")


def results(
    cases: Sequence[Case],
    measured: Mapping[str, Any],
    rates: Mapping[str, Any],
    missing: Mapping[str, str],
    failed: Mapping[str, str],
    load: float | None,
) -> dict[str, Any]:
    """Return the content of the file.

    `missing` holds the reasons why the user left measurements out, by measure or by a case's title. `failed` holds the
    reasons why others failed.
    """
    judged = [judge(case, measured, missing) for case in cases]
    reasons = {**failed, **missing}
    unknown = [
        {
            "name": case.name,
            "against": case.against,
            "reason": reasons.get(case.title) or reasons.get(case.measure) or "not measured",
        }
        for case, line in zip(cases, judged, strict=True)
        if line["ratio"] is None
    ]
    return {
        "cases": judged,
        "bounds": dict(rates),
        "machine": machine(load),
        "missing": unknown,
        "measured": dict(measured),
    }


def passed(content: Mapping[str, Any]) -> bool:
    """Return True if no case failed; a case that the user left out did not fail."""
    return all(line["ok"] is not False for line in content["cases"])


def machine(load: float | None) -> dict[str, Any]:
    """Return the machine's description, with the load of other programs at the start, if known."""
    return {
        "cpu": _cpu(),
        "cores": processors(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "load": load,
        "date": time.strftime("%Y-%m-%d"),
    }


def load_now() -> float | None:
    """Return the number of running programs as a mean of the last minute, or None if the system does not report it."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    family = f"family {named.get('cpu family', '?')} model {named.get('model', '?')}"
    return f"{named.get('model name', platform.processor())} ({family}, {named.get('cpu MHz', '?')} MHz)"
