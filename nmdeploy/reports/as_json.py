"""The report as JSON."""

from __future__ import annotations

import json

from nmdeploy.analysis.report import Report

SUFFIX = ".json"


def render(report: Report) -> str:
    """Return the whole report; figures that nobody published are null."""
    return json.dumps(report.to_json(), indent=2) + "\n"
