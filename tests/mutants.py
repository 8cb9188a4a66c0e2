"""Mutants of the integer step: every constant, comparison, operator and rounding of a neuron file changed by itself."""

from __future__ import annotations

import ast
import copy
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

FLIPPED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
# What is not part of the integer step: set-up, checks, proofs, conversions to floats, reports.
OUTSIDE = {
    *("__post_init__", "_check", "prove", "real", "footprint_bits", "size", "states", "flags", "to_json", "from_json"),
    *("frac", "quantize", "_within", "observe", "bounds", "membrane", "start", "step", "_require_deployable", "_decay"),
    *(
        "_mantissas",
        "dequantize",
        "a_max",
        "fan_out",
        "synapses",
        "shape",
        "apply_float",
        "code_range",
        "chip_exponent",
    ),
    *("row_magnitudes", "sign_mode", "_bias_codes", "inputs_met", "footprint_between", "bias_synapses"),
    *("chip_exponents", "frac_max", "nir_primitives"),
}
# Ends of stored formats: the integer step does not use them; tests/neurons/test_lif.py holds them.
FORMAT_LIMITS = {"VTH_MAX", "BIAS_MANT_MAX"}


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str
    line: int
    change: str
    tree: ast.Module


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of the integer functions of a module."""
    path = importlib.import_module(module).__file__
    assert path is not None
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    for index, node in enumerate(_inside(tree)):
        for number, (change, _) in enumerate(_changes(node)):
            changed = copy.deepcopy(tree)
            twin = list(_inside(changed))[index]
            list(_changes(twin))[number][1]()
            yield Mutant(module, node.lineno, change, changed)


def _inside(tree: ast.AST) -> Iterator[Any]:
    """Expressions of the integer step, depth first; docstrings, types, defaults and the float population are not."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AnnAssign)) and _name(child) in OUTSIDE:
            continue
        if isinstance(child, ast.ClassDef) and not child.name.startswith("Quantized"):
            continue
        if isinstance(child, ast.Assign) and getattr(child.targets[0], "id", "") in FORMAT_LIMITS:
            continue
        if isinstance(child, ast.AnnAssign) or (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
            continue
        if isinstance(child, (ast.BinOp, ast.Compare, ast.UnaryOp, ast.Constant, ast.Call)):
            yield child
        yield from _inside(child)


def _name(node: Any) -> str:
    return node.name if isinstance(node, ast.FunctionDef) else getattr(node.target, "id", "")


def _changes(node: Any) -> Iterator[tuple[str, Any]]:
    """(what changes, a function that changes it in place) for one expression."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"{node.value} -> {node.value + 1}", lambda: setattr(node, "value", node.value + 1)
    elif isinstance(node, ast.BinOp) and type(node.op) in FLIPPED:
        new = FLIPPED[type(node.op)]
        yield f"{type(node.op).__name__} -> {new.__name__}", lambda: setattr(node, "op", new())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPPED:
        new = FLIPPED[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} -> {new.__name__}", lambda: node.ops.__setitem__(0, new())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
        yield f"without {type(node.op).__name__}", lambda: setattr(node, "op", ast.UAdd())
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "rz":
        yield "rounds down", lambda: setattr(node.func, "id", "_floor")
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "select":
        yield "select the other", lambda: node.args.insert(1, node.args.pop())


@contextmanager
def installed(mutant: Mutant, dependants: tuple[str, ...]) -> Iterator[dict[str, ModuleType]]:
    """The mutated module, and copies of those that use it, by name; everything is as before afterwards."""
    names = (mutant.module, *(name for name in dependants if name != mutant.module))
    saved = {name: sys.modules[name] for name in names}
    try:
        yield {name: _executed(name, mutant.tree if name == mutant.module else None) for name in names}
    finally:
        sys.modules.update(saved)


def _executed(name: str, tree: ast.Module | None) -> ModuleType:
    original = sys.modules[name]
    module = ModuleType(name)
    module.__dict__["_floor"] = lambda x, k: x >> k
    module.__dict__["__file__"] = original.__file__
    sys.modules[name] = module
    if tree is None:
        assert original.__file__ is not None
        tree = ast.parse(Path(original.__file__).read_text(encoding="utf-8"))
    exec(compile(ast.fix_missing_locations(tree), f"<mutant of {name}>", "exec"), module.__dict__)
    return module
