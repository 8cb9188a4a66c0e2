"""The notebooks of the documentation run, and show every object in a line and a small table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SHOWN = ("Network", "QuantizedNetwork", "Recording", "Verification", "Report")
TEXT_MAX, HTML_MAX, SECONDS = 1000, 20_000, 300


def results(notebook: Any) -> list[dict[str, str]]:
    """Return the values of the cells' last lines, by the type of their form."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [out.data for cell in cells for out in cell.outputs if out.output_type == "execute_result"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_its_objects(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    work = tmp_path / "work"
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(work)}})
    client.execute()
    for data in results(notebook):
        assert len(data["text/plain"]) < TEXT_MAX
    tables = {data["text/html"]: data["text/plain"] for data in results(notebook) if "text/html" in data}
    assert all(len(table.encode()) < HTML_MAX for table in tables)
    titles = [text.removeprefix("<").partition(":")[0] for text in tables.values()]
    assert titles == list(SHOWN)
    assert "equal" in next(text for text in tables.values() if text.startswith("<Verification"))
    assert results(notebook)[-1]["text/plain"] == "(True, True)"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_without_results(path: Path) -> None:
    """They would be those of an earlier version."""
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells and all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_to_files(path: Path) -> None:
    texts = ["".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(texts)):
        assert (path.parent / target).exists(), target


def test_there_is_a_notebook() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["tour"]
