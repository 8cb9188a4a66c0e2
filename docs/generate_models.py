"""Generator of docs/models.md and docs/models/*.md, and the measurements that they show.

python docs/generate_models.py                    writes the pages
python docs/generate_models.py --check            exits with 1 if one of them is not current or a row is not measured
python docs/generate_models.py --train [ROW ...]  trains (or takes build/models/), quantizes, runs: results.json
python docs/generate_models.py --checks [ROW ...] parallel forms, gradients, Lava: checks.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from models_pages import model_page, models_page
from models_results import measure, rows, train_all

from nmdeploy.models.catalog import neuron_models

DOCS = Path(__file__).parent
RESULTS, CHECKS = DOCS / "models" / "results.json", DOCS / "models" / "checks.json"


def held(path: Path) -> dict[str, Any]:
    """Return the measured rows of a file, of those that exist."""
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {name: found[name] for name in rows() if name in found}


def pages() -> dict[Path, str]:
    """Return the text of every page."""
    results, checks = held(RESULTS), held(CHECKS)
    found = {DOCS / "models.md": models_page(results, checks)}
    return found | {
        DOCS / "models" / f"{name}.md": model_page(model, results) for name, model in neuron_models().items()
    }


def update(path: Path, names: list[str], function: Callable[[str], dict[str, Any]]) -> None:
    """Measure rows one after the other, and store each at once."""
    for name in names:
        print(f"{name} ...", flush=True)
        content = held(path) | {name: function(name)}
        path.write_text(json.dumps(dict(sorted(content.items())), indent=1) + "\n", "utf-8")


def check() -> int:
    """Print a line for each page that is not current and each row that is not measured; return 1 if there is one."""
    stale = [page.name for page, text in pages().items() if not page.is_file() or page.read_text("utf-8") != text]
    surplus = set((DOCS / "models").glob("*.md")) - set(pages())
    problems = [f"{name} is not current: run python docs/generate_models.py" for name in stale]
    problems += [f"{page.name} belongs to no model: delete it" for page in surplus]
    for path, option in ((RESULTS, "--train"), (CHECKS, "--checks")):
        missing = [name for name in rows() if name not in held(path)]
        problems += [f"{name} is not in {path.name}: run generate_models.py {option} {name}" for name in missing]
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


def run(arguments: list[str]) -> int:
    """Measure, write or check, and return the exit code."""
    option, *names = arguments or [""]
    if option == "--check":
        return check()
    for name in names:
        if name not in rows():
            raise SystemExit(f"row {name!r} is unknown: choose among {', '.join(rows())}")
    names = names or list(rows())
    if option == "--train":
        train_all(names)
        update(RESULTS, names, measure)
    elif option == "--checks":
        from models_checks import check as check_row

        update(CHECKS, names, check_row)
    elif option:
        print(__doc__, file=sys.stderr)
        return 2
    for page, text in pages().items():
        page.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
