"""Imports point one way, and heavy packages are imported at the edges only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nmdeploy"
LAYERS = (
    ("errors", "frozen", "fixedpoint", "plugins", "__init__"),
    ("plugins", "neurons", "synapses", "profile", "profile_file", "profile_text", "files", "hdf5_heap", "signals"),
    ("families", "systems"),
    ("graph", "network"),
    (
        *("execute", "recording", "recording_io", "recording_writer", "floatrun"),
        *("samples", "sources", "sources_hdf5", "sources_npz"),
    ),
    (
        "quantization",
        "nir_io",
        "importers",
        "models",
        "systems_text",
    ),
    ("check", "mapping", "origin"),
    ("engine",),
    ("backends",),
    ("metrics", "energy", "verification", "inspect_file", "inspect_data"),
    ("reports", "on_data", "streaming"),
    ("pipeline",),
    ("terminal", "doctor", "demo", "warmup"),
    ("command_group",),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Inside functions only, and only where named: the edges of the program.
LAZY = {
    "torch": ("models", "importers.torch_pickle", "engine.products"),
    "onnxruntime": ("engine.products",),
    "llvmlite": ("engine",),
    "nir": ("nir_io",),
    "h5py": ("nir_io", "recording_io", "recording_writer", "sources_hdf5", "lava.model_file"),
    "rich": ("terminal", "reports.as_terminal", "inspect_file"),
    "safetensors": ("importers.checkpoint", "importers.checkpoint_content", "models.checkpoint"),
    **dict.fromkeys(("norse", "snntorch", "onnx", "matplotlib", "numba", "sklearn", "scipy"), ()),
}


def modules() -> list[tuple[str, Path]]:
    """Dotted names below the package, and their files; Lava's own folder is held by a rule of its own."""
    found = [(".".join(path.relative_to(PACKAGE).with_suffix("").parts), path) for path in PACKAGE.rglob("*.py")]
    return [(name.removesuffix(".__init__") if name != "__init__" else name, path) for name, path in sorted(found)]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it stands at the module's top level) of every import statement; typing-only ones left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for statement in tree.body for node in ([statement] if _is_import(statement) else [])}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_one_way(name: str, path: Path) -> None:
    if name.split(".")[0] == "lava":
        return
    rank = RANK[name.split(".")[0]]
    for target, _ in imports(path):
        parts = target.split(".")
        if parts[0] == "nmdeploy" and len(parts) > 1 and parts[1] in RANK and name != "__init__":
            assert RANK[parts[1]] <= rank, f"{name} imports {target}, which stands above it"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_heavy_packages_are_imported_at_the_edges(name: str, path: Path) -> None:
    for target, top in imports(path):
        package = target.split(".")[0]
        if package in LAZY:
            assert any(name == edge or name.startswith(f"{edge}.") for edge in LAZY[package]), (
                f"{name} imports {target}"
            )
            assert not top or name.startswith(("models", "engine")), f"{name} imports {target} at its top"


def test_lava_processes_share_no_code_with_what_they_check() -> None:
    for name, path in modules():
        if name.split(".")[0] == "lava":
            used = {target.split(".")[1] for target, _ in imports(path) if target.startswith("nmdeploy.")}
            assert used <= {"lava"}, f"{name} uses {used}"


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name, _ in modules()} - set(RANK) == {"lava"}
