"""Writes the table of layers into docs/architecture.md, from the list that the tests hold.

python docs/generate_layers.py           writes the table
python docs/generate_layers.py --check   exits with 1 if the table is not current
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("architecture.md")
TESTS = Path(__file__).resolve().parent.parent / "tests" / "test_imports.py"
BEGIN, END = "<!-- layers -->\n", "<!-- /layers -->\n"


def layers() -> tuple[tuple[str, ...], ...]:
    """Names of each layer, the lowest first: the literal `LAYERS` of the tests."""
    for statement in ast.parse(TESTS.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "LAYERS":
            found: tuple[tuple[str, ...], ...] = ast.literal_eval(statement.value)
            return found
    raise ValueError(f"{TESTS} has no LAYERS")


def table() -> str:
    """The table, the lowest layer first."""
    rows = [f"| {rank} | {', '.join(f'`{name}`' for name in names)} |" for rank, names in enumerate(layers(), 1)]
    return "\n".join(["| layer | modules and folders of `nmdeploy/` |", "|---|---|", *rows]) + "\n"


def page(text: str) -> str:
    """The page with the current table."""
    return re.sub(f"(?<={BEGIN}).*?(?={END})", lambda match: f"\n{table()}\n", text, count=1, flags=re.S)


def run(arguments: list[str]) -> int:
    """Write or check the table."""
    current = PAGE.read_text("utf-8")
    text = page(current)
    if arguments == ["--check"]:
        if current != text or BEGIN not in current:
            print(f"{PAGE.name} is not current: run python docs/generate_layers.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
