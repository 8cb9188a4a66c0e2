"""Mutants of the integer step, each with one changed constant, comparison, operator or rounding of its modules.

A mutant is installed by exchanging the code of the functions in place, so that every module uses it.
"""

from __future__ import annotations

import ast
import copy
import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from nmdeploy.network import families
from nmdeploy.neurons.base import Neuron
from nmdeploy.synapses.base import Synapse

FLIPPED: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
OTHER = {"minimum": "maximum", "maximum": "minimum"}
SELECTING = ("select", "where")
# Names that are not part of the integer step, by kind; a name may be of one class only.
OUTSIDE = {
    # set-up and checks
    *(
        "__post_init__",
        "_freeze_common",
        "_check_common",
        "_check_codes",
        "_within",
        "add_trailing_axis",
        "start",
        "dynamics",
    ),
    *("require_meaning", "_objections", "_against_modulo", "code_range"),
    # names and sizes
    *(
        "dims",
        "size",
        "states_per_neuron",
        "inputs",
        "outputs",
        "input_size",
        "output_size",
        "real_states",
        "shape",
        "flags",
    ),
    *("registers", "recorded", "feeds_synapses", "hold_steps", "output_frac", "unstable"),
    *("emits", "spiking", "random_seed", "check_declared", "adds_bias"),
    # membranes for a readout, from recorded states: tests/network/test_membrane_readout.py compares them with Lava
    *("membrane_register", "membrane_codes", "readable_membrane"),
    # values of the integers for people, and remedies
    *("held_tensors", "dequantize_output", "rounded_bias", "dropped_bits", "remedy"),
    # the model file for other readers
    *("nir_primitives", "nir_losses", "refractory_losses"),
    # proofs
    *(
        "check_overflow",
        "check_common_overflow",
        "_type_of_sums",
        "arriving_max",
        "_largest",
        "a_max",
        "QuantizedNeuron.output_max",
    ),
    *("signed_sums", "_by_output", "limits", "SparseRows.check"),
    # conversion to floats, reports
    *(
        "dequantize_state",
        "dequantize",
        "recorded_bits",  # a code that does not fit is refused: tests/recording/test_narrow.py
        "footprint_bits",
        "footprint_between",
        "mechanism_bits",
        "chip_exponent",
        "chip_exponents",
    ),
    *("fan_out", "synapse_count", "bias_synapses", "inputs_met", "nonzero", "density"),
    *("entry_bits", "_entries_before"),
    *("nir_primitives", "Rows.matrix", "DenseRows.matrix", "SparseRows.matrix", "sparse", "_offsets", "sources"),
    *("from_matrix", "_entries", "is_compressed", "weights_of", "largest", "shared_peaks"),
    # functions of the float populations
    *("power_below", "_bias_codes", "_bias_frac", "_mantissas", "_decay", "_require_deployable", "examples"),
    *("choose_scales", "_reset_amounts", "_require_single", "scales"),
    *("sending", "_ratio", "_du", "_dv"),
    *("quantize_poles", "_nearest_inside", "quantize_matrix", "_radius", "require_format"),
}
# Modules of the quantizer, which those of the families import too.
QUANTIZER = (
    *("nmdeploy.neurons.state_space.float", "nmdeploy.neurons.state_space.scales"),
    *("nmdeploy.neurons.scales", "nmdeploy.synapses.scale_group", "nmdeploy.synapses.grids"),
    *("nmdeploy.neurons.decays", "nmdeploy.neurons.described", "nmdeploy.neurons.rounded"),
    "nmdeploy.neurons.state_space.restored",  # membranes for a readout
)
# Constants that the integer step does not use: ends of stored formats, the quantizer's choices.
NOT_IN_THE_STEP = {
    *("SPARSE_WEIGHTS_MIN", "ENTRIES_PER_PART", "STATE_BITS_MAX", "PAYLOAD_BITS", "SHIFT_MAX", "OUT_SHIFT_MAX"),
    *("FACTOR_BITS", "NO_LEAK", "LEAST_OF_LARGEST"),
    "VTH_MAX",
    "BIAS_MANT_MAX",
    "TABLE_FRAC",
    "SIGMOID",
    "OUTPUT_BITS",
    "OUTPUT_ATTENUATION_BITS_MAX",
    "U_CALIBRATED",
    "UNKNOWN_STEPS",
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module: place, change, the line from there on, and a flag for code outside of all functions."""

    module: str
    line: int
    change: str
    source: str
    rest: str
    tree: ast.Module
    constant: bool


def step_modules() -> tuple[str, ...]:
    """Return the modules of all integer families, and those of the two folders that they import."""
    found: dict[str, None] = {}
    kinds = {**families.quantized_neurons(), **families.quantized_synapses()}
    new = {family.__module__ for family in kinds.values()}
    while new:
        found |= dict.fromkeys(sorted(new))
        new = {name for module in new for name in imported(module)} - set(found)
    return tuple(name for name in sorted(found) if next(mutants(name), None))


def imported(module: str) -> list[str]:
    """Return the modules of neurons and synapses that a module imports, without those of its float population."""
    names = [node.module or "" for node in ast.walk(_parsed(module)) if isinstance(node, ast.ImportFrom)]
    ours = [name for name in names if name.startswith(("nmdeploy.neurons.", "nmdeploy.synapses."))]
    return [name for name in ours if name not in QUANTIZER]


def reached(module: str) -> set[str]:
    """Return a module and all that it imports, directly or not."""
    found, new = {module}, {module}
    while new:
        new = {name for one in new for name in imported(one)} - found
        found |= new
    return found


def _source(module: str) -> str:
    path = importlib.import_module(module).__file__
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


def _parsed(module: str) -> ast.Module:
    return ast.parse(_source(module))


def mutants(module: str) -> Iterator[Mutant]:
    """Yield every mutant of the integer functions of a module."""
    tree, lines = _parsed(module), _source(module).splitlines()
    for index, (node, constant) in enumerate(_inside(tree, module)):
        for number, (change, _) in enumerate(_changes(node)):
            changed = copy.deepcopy(tree)
            twin = list(_inside(changed, module))[index][0]
            list(_changes(twin))[number][1]()
            line = lines[node.lineno - 1]
            rest = line[node.col_offset :]
            yield Mutant(module, node.lineno, change, line.strip(), rest, ast.fix_missing_locations(changed), constant)


def _inside(tree: ast.AST, module: str, scope: str = "", constant: bool = True) -> Iterator[tuple[Any, bool]]:
    """Yield the expressions of the integer step, depth first.

    Docstrings, types, defaults and the float population are left out.
    """
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef) and {child.name, f"{scope}.{child.name}"} & OUTSIDE:
            continue
        if isinstance(child, ast.ClassDef) and _is_float(getattr(sys.modules[module], child.name)):
            continue
        if isinstance(child, ast.Assign) and getattr(child.targets[0], "id", "") in NOT_IN_THE_STEP:
            continue
        if isinstance(child, ast.arguments) or (isinstance(child, ast.AnnAssign) and scope):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, (ast.BinOp, ast.Compare, ast.UnaryOp, ast.Constant, ast.Call, ast.IfExp)):
            yield child, constant
        name = child.name if isinstance(child, ast.ClassDef) else scope
        function = isinstance(child, (ast.FunctionDef, ast.Lambda))
        yield from _inside(child, module, name, constant and not function)


def _is_float(kind: type) -> bool:
    return issubclass(kind, (Neuron, Synapse))


def _changes(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield (description, function that changes the expression in place)."""
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
    elif isinstance(node, ast.IfExp):
        yield "the other branch", lambda: node.__dict__.update(body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Call):
        yield from _call_changes(node)


def _call_changes(node: ast.Call) -> Iterator[tuple[str, Any]]:
    called: Any = node.func
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    if name == "rz":
        yield "rounds down", lambda: setattr(called, "id", "_floor")
    elif name in SELECTING:
        yield f"{name} the other", lambda: node.args.insert(1, node.args.pop())
    elif name in OTHER:
        yield OTHER[name], lambda: setattr(called, "attr", OTHER[name])
    elif name == "abs":
        yield "without abs", lambda: node.__dict__.update(func=ast.Name("_same", ast.Load()))


@contextmanager
def installed(mutant: Mutant) -> Iterator[None]:
    """Install the mutant in the package for the block; afterwards everything is as before."""
    module = sys.modules[mutant.module]
    vars(module).update(_floor=lambda x, k: x >> k, _same=lambda x: x)
    undo = _change_constants(mutant, module) if mutant.constant else _change_code(mutant, module)
    try:
        yield
    finally:
        for owner, name, value in undo:
            setattr(owner, name, value)


Undo = list[tuple[Any, str, Any]]


def _change_code(mutant: Mutant, module: ModuleType) -> Undo:
    """Exchange the code of the functions that the mutant changes."""
    assert module.__file__ is not None
    new = _codes(compile(mutant.tree, module.__file__, "exec"))
    undo: Undo = []
    for function in _functions(module):
        code = new.get(_place(function.__code__))
        if code is not None and code != function.__code__:
            undo.append((function, "__code__", function.__code__))
            function.__code__ = code
    assert undo
    return undo


def _functions(module: ModuleType) -> list[FunctionType]:
    if module.__name__ not in _FUNCTIONS:
        # not isinstance: it asks objects for their class, which makes lazy modules of torch warn
        found = [f for f in gc.get_objects() if type(f) is FunctionType and f.__module__ == module.__name__]
        _FUNCTIONS[module.__name__] = [f for f in found if f.__code__.co_filename == module.__file__]
    return _FUNCTIONS[module.__name__]


_FUNCTIONS: dict[str, list[FunctionType]] = {}


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_name, code.co_firstlineno


def _codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """Return all code inside, by name and line."""
    found = {_place(code): code}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found |= _codes(inner)
    return found


def _change_constants(mutant: Mutant, module: ModuleType) -> Undo:
    """Exchange the constants that the mutant changes, in every module that imported them by name."""
    twin = ModuleType(mutant.module)
    twin.__dict__["__file__"] = module.__file__
    sys.modules[mutant.module] = twin  # dataclasses look their module up
    try:
        exec(compile(mutant.tree, str(module.__file__), "exec"), twin.__dict__)
    finally:
        sys.modules[mutant.module] = module
    undo: Undo = []
    for name, value in list(vars(module).items()):
        if type(value) is int and vars(twin)[name] != value:
            for owner in [
                m for n, m in sys.modules.items() if n.startswith("nmdeploy.") and vars(m).get(name) == value
            ]:
                undo.append((owner, name, value))
                setattr(owner, name, vars(twin)[name])
    assert undo
    return undo
