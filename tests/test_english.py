"""Rules of the English that a count decides, in docstrings, messages and pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "nmdeploy").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "hw_profiles").glob("*.toml"))]
AVOIDED = re.compile(r"\b(behind|stands|told|mend|but\s+for|anew|at\s+hand)\b", re.IGNORECASE)
OPENINGS = re.compile(r"(What|Whether|Where|Of)\b")
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|et al|etc|vs|cf|approx)\.")
SENTENCE_END = re.compile(r"[.!?](?=[\s\"')\]]|$)")


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def docstrings(path: Path) -> Iterator[tuple[ast.AST, int, str]]:
    """(node, line, text) of every docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield node, node.body[0].lineno, text


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every literal text of a file, docstrings and the parts of f-strings among them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def sentences(paragraph: str) -> int:
    """Number of sentences; an abbreviation ends none."""
    return len(SENTENCE_END.findall(ABBREVIATIONS.sub("abbreviation", paragraph)))


def avoided(text: str, first: int, path: Path) -> Iterator[str]:
    for found in AVOIDED.finditer(text):
        yield f"{place(path, first + text.count(chr(10), 0, found.start()))}: {found[0]!r}"


def test_the_first_paragraph_of_a_module_is_one_sentence() -> None:
    wrong = []
    for path in SOURCES:
        for node, line, text in docstrings(path):
            first = text.split("\n\n")[0]
            if isinstance(node, ast.Module) and (sentences(first) != 1 or not first.endswith(".")):
                wrong.append(f"{place(path, line)}: {first}")
    assert not wrong, f"{len(wrong)} modules\n" + "\n".join(wrong)


def test_no_docstring_begins_with_a_question_word() -> None:
    wrong = [
        f"{place(path, line)}: {text.splitlines()[0]}"
        for path in SOURCES
        for _, line, text in docstrings(path)
        if OPENINGS.match(text)
    ]
    assert not wrong, f"{len(wrong)} docstrings\n" + "\n".join(wrong)


def test_words_that_a_reader_stumbles_over_are_not_used() -> None:
    wrong = [each for path in SOURCES for line, text in texts(path) for each in avoided(text, line, path)]
    wrong += [each for path in PAGES for each in avoided(path.read_text("utf-8"), 1, path)]
    assert not wrong, f"{len(wrong)} places\n" + "\n".join(wrong)


def test_every_module_has_a_docstring() -> None:
    for path in SOURCES:
        text = path.read_text("utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), place(path, 1)


def test_sentences_are_counted_as_a_reader_does() -> None:
    shown = {"One, e.g. this one.": 1, "No end": 0, "One. Two.": 2, "nir 1.0.8 reads ``.nir`` files.": 1}
    assert {text: sentences(text) for text in shown} == shown
    assert [found[0] for found in AVOIDED.finditer("It stands behind recommended defaults, but\nfor one.")] == [
        "stands",
        "behind",
        "but\nfor",
    ]
    assert OPENINGS.match("Of two") and not OPENINGS.match("Offset of two")
