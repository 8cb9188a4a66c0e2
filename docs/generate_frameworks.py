"""Generator of docs/frameworks.md, and the measurements that it shows.

python docs/generate_frameworks.py                       writes the page
python docs/generate_frameworks.py --check               exits with 1 if it is not current or a network is not measured
python docs/generate_frameworks.py --measure [NAME ...]  trains (or takes build/frameworks/), compares: frameworks.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from frameworks_page import page
from frameworks_results import digest_of, measure

from examples.train_framework import FOLDER, names

DOCS = Path(__file__).parent
RESULTS, PAGE = DOCS / "frameworks.json", DOCS / "frameworks.md"


def held() -> dict[str, Any]:
    """Return the measured rows, of networks that exist."""
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    return {name: found[name] for name in names() if name in found}


def update(chosen: list[str]) -> None:
    """Measure networks one after the other, and store each at once."""
    for name in chosen:
        print(f"{name} ...", flush=True)
        content = held() | {name: measure(name)}
        RESULTS.write_text(json.dumps(dict(sorted(content.items())), indent=1) + "\n", "utf-8")


def check() -> int:
    """Print a line if the page is not current, and for each network that is not measured; return 1 if there is one."""
    rows = held()
    stale = not PAGE.is_file() or PAGE.read_text("utf-8") != page(rows)
    problems = ["frameworks.md is not current: run python docs/generate_frameworks.py"] if stale else []
    old = [name for name in names() if rows.get(name, {}).get("file_sha256") != digest_of(FOLDER / f"{name}.py")]
    problems += [f"{name} is not measured as it is now: run generate_frameworks.py --measure {name}" for name in old]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


def run(arguments: list[str]) -> int:
    """Measure, write or check, and return the exit code."""
    option, *chosen = arguments or [""]
    if option == "--check":
        return check()
    for name in chosen:
        if name not in names():
            raise SystemExit(f"network {name!r} is unknown: choose among {', '.join(names())}")
    if option == "--measure":
        update(chosen or names())
    elif option:
        print(__doc__, file=sys.stderr)
        return 2
    PAGE.write_text(page(held()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
