"""Generator of docs/commands.md, from the command line's own help.

python docs/generate_commands.py           writes the page
python docs/generate_commands.py --check   exits with 1 if the page is not current
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from nmdeploy.cli.commands import main

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Generated from the help texts by `docs/generate_commands.py`. Exit codes are those of
[formats](formats.md#exit-codes).
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, *_command(main, "nmdeploy")]
    for name in sorted(main.commands):
        parts += _command(main.commands[name], f"nmdeploy {name}")
    return "\n".join(parts)


def _command(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path, **main.context_settings)
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"## {path}\n"
    yield f"```text\n{path} {pieces}\n```\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        literal = paragraph.startswith("\b\n")
        yield f"```text\n{paragraph[2:]}\n```\n" if literal else f"{paragraph}\n"
    yield "| option | meaning |\n|---|---|"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            option, meaning = (text.replace("|", "\\|") for text in record)
            yield f"| `{option}` | {' '.join(meaning.split())} |"
    yield ""


def run(arguments: list[str]) -> int:
    """Write or check the page, and return the exit code."""
    text = page()
    if arguments == ["--check"]:
        current = PAGE.is_file() and PAGE.read_text("utf-8") == text
        if not current:
            print(f"{PAGE.name} is not current: run python docs/generate_commands.py", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
