"""The documentation: its examples run, its links lead somewhere, the files it names exist."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from requires_lava import require_lava

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PACKAGE = ROOT / "nmdeploy"

FENCED = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
NAME_OF_FILE = re.compile(r"`(\w+)` (?:of|in)\s+`([\w./]+\.py)`")
FRAMEWORKS = ("torch", "snntorch", "norse", "spikingjelly", "rockpool")
OURS = re.compile(r"(?:nmdeploy|docs|tests|hw_profiles|examples|\.ci)/[\w./*-]*")


def with_examples() -> list[str]:
    """Modules whose docstrings hold examples; Lava's are tested where Lava is."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[:2] != ("nmdeploy", "lava") and ">>> " in path.read_text("utf-8"):
            found.append(".".join(parts).removesuffix(".__init__"))
    return found


def test_there_are_examples_to_test() -> None:
    assert "nmdeploy.fixedpoint" in with_examples()


@pytest.mark.parametrize("name", with_examples())
def test_doctests_of_modules(name: str) -> None:
    if name.startswith("nmdeploy.models"):
        pytest.importorskip("torch")
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_examples_of_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks with a title are files, which tests/test_extending.py and tests/lava/test_lava_docs.py run."""
    monkeypatch.chdir(tmp_path)
    for package in FRAMEWORKS:
        if re.search(rf"^(import|from) {package}\b", page.read_text("utf-8"), re.M):
            pytest.importorskip(package)
    names: dict[str, object] = {}
    for language, rest, text in FENCED.findall(page.read_text("utf-8")):
        if language not in ("python", "pycon") or "title=" in rest:
            continue
        if ">>>" not in text:
            exec(compile(text, str(page), "exec"), names)
            continue
        parsed = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), 0)
        runner = doctest.DocTestRunner()
        runner.run(parsed, clear_globs=False)
        names.update(parsed.globs)
        assert not runner.failures


def test_pages_have_examples() -> None:
    assert ">>> " in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page: Path) -> None:
    prose = FENCED.sub("", page.read_text("utf-8"))
    for target in LINK.findall(prose):
        path = target.split("#")[0]
        if path and not path.startswith(("https://", "mailto:")):
            assert (page.parent / path).exists(), target
        assert not path.startswith("http://"), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page: Path) -> None:
    prose = FENCED.sub("", page.read_text("utf-8"))
    for code in CODE.findall(prose):
        if OURS.fullmatch(code):
            assert list(ROOT.glob(code.rstrip("/"))), code


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modules_that_are_named_exist(page: Path) -> None:
    from nmdeploy.hardware import interconnects, profile_toml

    groups = (interconnects.GROUP, profile_toml.GROUP)
    prose = FENCED.sub("", page.read_text("utf-8"))
    for code in CODE.findall(prose):
        match = re.match(r"nmdeploy(?:\.\w+)+", code)
        if match is None or match[0] in groups or match[0].startswith(("nmdeploy.lava", "nmdeploy.models")):
            continue
        name, _, attribute = match[0].rpartition(".")
        if importlib.util.find_spec(match[0]) is None:
            assert hasattr(importlib.import_module(name), attribute), code


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_names_are_in_the_files_that_pages_give_for_them(page: Path) -> None:
    for name, file in NAME_OF_FILE.findall(FENCED.sub("", page.read_text("utf-8"))):
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text("utf-8")), f"{name} of {file}"


@pytest.mark.parametrize("name", ["architecture.md", "engine.md"])
def test_parts_in_drawings_exist(name: str) -> None:
    """What a drawing names as FOLDER/ or FOLDER/MODULE is a part of the package, or a file of the repository."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    drawings = "".join(block for language, _, block in FENCED.findall(text) if language == "text")
    found = re.findall(r"(?<![\w.])([a-z][a-z_]*/(?:[a-z_]+(?:\.md)?/?)*)", drawings)
    assert len(found) > 5
    for part in found:
        places = (PACKAGE / part, PACKAGE / f"{part}.py", ROOT / part)
        assert any(place.exists() for place in places), part


@pytest.mark.parametrize("folder", ["trace", "bounds", "lower", "llvm", "run"])
def test_the_page_of_the_engine_lists_every_module(folder: str) -> None:
    text = (ROOT / "docs" / "engine.md").read_text("utf-8")
    (row,) = re.findall(rf"^\| `nmdeploy/engine/{folder}/` \| (.*?) \|", text, re.M)
    modules = {path.stem for path in (PACKAGE / "engine" / folder).glob("*.py")} - {"__init__"}
    assert set(CODE.findall(row)) == modules


def test_building_the_pages_installs_no_torch() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "docs: .venv-docs/ready\n\t.venv-docs/bin/mkdocs build --strict" in makefile
    (installed,) = re.findall(r"^\t\.venv-docs/bin/python .*?\"(.*?)\"$", makefile, re.M)
    assert installed == ".[docs]"
    extra = re.search(r"^docs = \[(.*?)\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert extra is not None and "torch" not in extra[1] and "train" not in extra[1]


def test_every_page_is_in_the_navigation() -> None:
    """Except those that `exclude_docs` leaves out, which are no Markdown."""
    shown = set(re.findall(r"[\w./-]+\.md$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M))
    assert shown == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


@pytest.mark.slow
@pytest.mark.lava
def test_the_commands_of_getting_started_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_lava()
    monkeypatch.chdir(tmp_path)
    blocks = FENCED.findall((ROOT / "docs" / "getting-started.md").read_text("utf-8"))
    exec(next(text for language, _, text in blocks if language == "python"), {})
    lines = [line for language, _, text in blocks if language == "sh" for line in text.splitlines()]
    commands = [line.split() for line in lines if line.startswith("nmdeploy ")]
    assert [words[1] for words in commands] == ["doctor", "check", "export", "simulate", "verify", "report"]
    for words in commands:
        arguments = [sys.executable, "-m", *words]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.md").is_file()


def test_the_commands_of_what_my_file_meant_print_what_it_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file as snnTorch writes it; a quoted block is what the command before it prints, or a part of it."""
    import nir
    import numpy as np
    from click.testing import CliRunner

    from nmdeploy.cli.commands import main

    monkeypatch.chdir(tmp_path)
    rng, nodes = np.random.default_rng(0), {"input": nir.Input(np.array([6]))}
    for name, size, beta, before in (("hidden", 8, 0.9, 6), ("out", 3, 0.8, 8)):
        tau = np.full(size, 1e-4 / (1 - beta))
        ones = np.ones(size)
        nodes[f"{name}.weight"] = nir.Linear(rng.normal(size=(size, before)))
        nodes[name] = nir.LIF(tau=tau, r=tau / 1e-4, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones)
    nodes["output"] = nir.Output(np.array([3]))
    names = list(nodes)
    nir.write("net.nir", nir.NIRGraph(nodes, list(itertools.pairwise(names)), type_check=False))
    np.savez("calibration.npz", inputs=rng.random((8, 20, 6)) < 0.5)
    printed, quoted = "", 0
    for language, _, text in FENCED.findall((ROOT / "docs/guides/what-my-file-meant.md").read_text("utf-8")):
        for line in text.splitlines():
            if language == "sh":
                done = CliRunner().invoke(main, line.split()[1:], catch_exceptions=False)
                assert done.exit_code == 0, done.output
                printed = done.stdout
            elif language == "text":
                assert line in printed.splitlines(), printed
                quoted += 1
    assert quoted > 4


def test_the_first_two_commands_of_the_readme() -> None:
    commands = next(text for language, _, text in FENCED.findall((ROOT / "README.md").read_text("utf-8")))
    assert commands.splitlines() == ["make demo", "make test"]


def test_the_readme_names_only_commands_and_options_that_exist() -> None:
    import click

    from nmdeploy.cli.commands import main

    for page in PAGES:
        for language, _, text in FENCED.findall(page.read_text("utf-8")):
            for line in text.splitlines() if language == "sh" else ():
                words = line.split("#")[0].split()
                if words[:1] == ["nmdeploy"]:
                    command = main.commands[words[1]]
                    known = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
                    assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize("name", ["generate_commands", "generate_tables"])
def test_generated_pages_are_current(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.run(["--check"]) == 0, capsys.readouterr().err


def test_no_page_shouts_or_smiles() -> None:
    """No emoji, no badges."""
    for page in PAGES:
        text = page.read_text("utf-8")
        assert not re.search("[\U0001f000-\U0001faff\u2600-\u27bf]", text), page
        assert "shields.io" not in text and "![" not in text, page


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material")
    arguments = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file()
    for page in tmp_path.rglob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text), page
        assert not re.search(r'<link[^>]+(?:stylesheet|preconnect)[^>]+href="(?:https?:)?//', text), page
    assert not (tmp_path / "generate_commands.py").exists()


@pytest.mark.slow
@pytest.mark.lava
def test_the_readme_quotes_the_demo(tmp_path: Path) -> None:
    require_lava()
    readme = (ROOT / "README.md").read_text("utf-8")
    quoted = next(text for language, _, text in FENCED.findall(readme) if language == "text")
    arguments = ["-m", "nmdeploy", "demo", "-o", str(tmp_path)]
    environment = os.environ | {"COLUMNS": "120"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    printed = set(done.stdout.splitlines())
    assert [line for line in quoted.splitlines() if line not in printed] == []
