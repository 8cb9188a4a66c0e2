"""Variables with which uv finds the packages that pip finds: folders of wheels, and the machine's own certificates."""

from __future__ import annotations

import os
import subprocess
import sys


def uv_environment() -> dict[str, str]:
    """Variables of uv, from those of pip and from its configuration."""
    found = [os.environ.get("PIP_FIND_LINKS", ""), _configured("global.find-links")]
    links = dict.fromkeys(link for text in found for link in text.split())
    return {"UV_SYSTEM_CERTS": "1"} | ({"UV_FIND_LINKS": ",".join(links)} if links else {})


def _configured(name: str) -> str:
    command = [sys.executable, "-m", "pip", "config", "get", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
