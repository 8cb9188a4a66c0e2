"""Imports point one way, and heavy packages are imported at the edges only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nmdeploy"
# From the bottom up: a module imports from its own line and from those before it. An entry stands for all that is below
# it, except for what has an entry of its own.
LAYERS = (
    ("__init__", "errors", "fixedpoint", "job", "_util"),
    ("neurons", "synapses", "examples"),
    ("hardware.profile", "hardware.events", "hardware.interconnects", "hardware.profile_toml"),
    ("network.families", "models.catalog"),
    ("network",),
    ("network.step_loop", "network.float_run", "recording", "samples"),
    ("engine.trace",),
    ("engine.bounds",),
    ("engine.lower",),
    ("engine.llvm",),
    ("engine.run.thread_pool", "engine.run.float_population", "engine.run.float_stepwise", "engine.run.float_run"),
    ("quantization", "nir_io", "importers", "models"),
    ("hardware", "checking", "analysis.provenance"),
    ("engine",),
    ("backends",),
    ("analysis",),
    ("analysis.report",),
    ("reports", "quantization.calibration_checks", "running"),
    ("pipeline",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LAVA = "lava"  # the oracle shares no code with what it checks
# Inside functions only, and only where named: the edges of the program.
LAZY = {
    "torch": (
        *("models", "_util.torch_file", "engine.run.products"),
        *("importers.modules.forms", "importers.modules.functions", "importers.modules.tracing"),
        "importers.python_names",
    ),
    "onnxruntime": ("engine.run.products",),
    "llvmlite": ("engine",),
    "nir": ("nir_io",),
    "h5py": ("_util.open_file", "nir_io", "recording", "samples.hdf5", "lava.model_file"),
    "scipy": ("lava.synapses",),
    "jinja2": ("_util.shown",),
    "rich": ("cli.progress", "reports.as_terminal"),
    "safetensors": ("importers.checkpoint", "importers.checkpoint_content"),
    **dict.fromkeys(("norse", "snntorch", "spikingjelly", "onnx", "matplotlib", "numba", "sklearn"), ()),
}


def modules() -> list[tuple[str, Path]]:
    """Dotted names below the package, and their files; Lava's own folder is held by a rule of its own."""
    found = [(".".join(path.relative_to(PACKAGE).with_suffix("").parts), path) for path in PACKAGE.rglob("*.py")]
    return [(name.removesuffix(".__init__") if name != "__init__" else name, path) for name, path in sorted(found)]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is at the module's top level) of every import statement, except those for typing only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    top = {id(node) for statement in tree.body for node in ([statement] if _is_import(statement) else [])}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


def _is_import(node: ast.AST) -> bool:
    return isinstance(node, (ast.Import, ast.ImportFrom))


def rank(name: str) -> int:
    """The rank of a module, by its own entry or that of the nearest folder that has one."""
    while name not in RANK:
        name, dot, _ = name.rpartition(".")
        assert dot, f"{name} has no entry in LAYERS"
    return RANK[name]


NAMES = {name for name, _ in modules()}


def module_of(target: str) -> str:
    """The module that an imported name of ours lies in, relative to the package."""
    name = target.removeprefix("nmdeploy.")
    return name if name in NAMES else name.rpartition(".")[0] or "__init__"


def depends(name: str, path: Path) -> set[str]:
    """Modules of ours that a module imports, those of its functions included."""
    found = {module_of(target) for target, _ in imports(path) if target.startswith("nmdeploy.")}
    return found - {name}


OURS = [(name, path) for name, path in modules() if name.split(".")[0] != LAVA]
# These two are imported when they are used: they are the names by which users reach what is above them.
FRONT_DOORS = ("__init__", "models")


@pytest.mark.parametrize(("name", "path"), OURS, ids=[name for name, _ in OURS])
def test_imports_point_one_way(name: str, path: Path) -> None:
    for target in depends(name, path):
        assert name in FRONT_DOORS or rank(target) <= rank(name), f"{name} imports {target}, which is above it"


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_heavy_packages_are_imported_at_the_edges(name: str, path: Path) -> None:
    for target, top in imports(path):
        package = target.split(".")[0]
        if package in LAZY:
            assert any(name == edge or name.startswith(f"{edge}.") for edge in LAZY[package]), (
                f"{name} imports {target}"
            )
            assert not top or name.startswith(("models.modules", "models.checkpoint", "engine")), (
                f"{name} imports {target} at its top"
            )


def test_lava_processes_share_no_code_with_what_they_check() -> None:
    for name, path in modules():
        if name.split(".")[0] == "lava":
            used = {target.split(".")[1] for target, _ in imports(path) if target.startswith("nmdeploy.")}
            assert used <= {"lava"}, f"{name} uses {used}"


def test_no_module_imports_itself_over_others() -> None:
    graph = {name: sorted(depends(name, path)) for name, path in OURS if name not in FRONT_DOORS}
    assert list(cycles(graph)) == []


def cycles(graph: dict[str, list[str]]) -> Iterator[list[str]]:
    """A chain of imports that ends where it began, from each module that has one."""
    for start in graph:
        came: dict[str, str] = {}
        front = [start]
        while front:
            name = front.pop()
            for target in graph.get(name, ()):
                if target == start:
                    chain = [name]
                    while chain[-1] != start:
                        chain.append(came[chain[-1]])
                    yield chain[::-1]
                    front.clear()
                    break
                if target not in came:
                    came[target] = name
                    front.append(target)


def test_every_entry_of_the_layers_exists() -> None:
    assert set(RANK) <= NAMES


def test_at_most_eight_modules_lie_directly_in_the_package() -> None:
    assert len([*PACKAGE.glob("*.py")]) <= 8
