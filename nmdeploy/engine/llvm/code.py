"""Small helpers over llvmlite's builder: loops, vectors, memory that becomes registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
POINTER = ir.PointerType()


def i64(value: int) -> ir.Constant:
    """Return a 64-bit literal."""
    return ir.Constant(I64, value)


def vector(kind: Any, lanes: int) -> ir.VectorType:
    """Return the type of a vector of `lanes` values."""
    return ir.VectorType(kind, lanes)


def splat(b: ir.IRBuilder, value: Any, lanes: int) -> Any:
    """Put a scalar into every lane."""
    if isinstance(value, ir.Constant):
        return ir.Constant(vector(value.type, lanes), [value.constant] * lanes)
    kind = vector(value.type, lanes)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(vector(I32, lanes), [0] * lanes))


def at(b: ir.IRBuilder, base: Any, index: Any, kind: Any) -> Any:
    """Return the address of element `index` of an array of `kind`."""
    return b.gep(base, [index if not isinstance(index, int) else i64(index)], source_etype=kind)


def load(b: ir.IRBuilder, pointer: Any, kind: Any) -> Any:
    """Load a value that may be unaligned."""
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    found = b.load(pointer, typ=kind)
    found.align = max(1, bits(scalar) // 8)
    return found


def store(b: ir.IRBuilder, value: Any, pointer: Any) -> None:
    """Store a value that may be unaligned."""
    scalar = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    b.store(value, pointer).align = max(1, bits(scalar) // 8)


def bits(kind: Any) -> int:
    """Return the width of a scalar type in bits."""
    if kind == F32:
        return 32
    return 64 if kind == F64 or isinstance(kind, ir.PointerType) else int(kind.width)


@contextmanager
def loop(b: ir.IRBuilder, first: Any, last: Any, name: str = "i") -> Iterator[Any]:
    """Write ``for i in range(first, last)``; yields i."""
    function = b.function
    head, body, behind = (function.append_basic_block(f"{name}.{part}") for part in ("head", "body", "end"))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(I64, name)
    index.add_incoming(first, before)
    b.cbranch(b.icmp_signed("<", index, last), body, behind)
    b.position_at_end(body)
    yield index
    index.add_incoming(b.add(index, i64(1), flags=("nsw",)), b.block)
    b.branch(head)
    b.position_at_end(behind)


def variable(b: ir.IRBuilder, kind: Any, start: Any) -> Any:
    """Return memory for one value, which LLVM turns into a register."""
    with b.goto_entry_block():
        place = b.alloca(kind)
    b.store(start, place)
    return place


def call(b: ir.IRBuilder, name: str, args: Sequence[Any], result: Any = None) -> Any:
    """Call an LLVM intrinsic, overloaded on the type of its first argument."""
    kind = args[0].type
    result = result or kind
    full = f"{name}.{_suffix(kind)}"
    module = b.module
    known = module.globals.get(full)
    function = known or ir.Function(module, ir.FunctionType(result, [a.type for a in args]), full)
    return b.call(function, args)


def each_lane(b: ir.IRBuilder, name: str, values: Any) -> Any:
    """Call a function of C's mathematics library, of one double, for each lane."""
    known = b.module.globals.get(name)
    function = known or ir.Function(b.module, ir.FunctionType(F64, [F64]), name)
    found = ir.Constant(values.type, ir.Undefined)
    for lane in range(values.type.count):
        place = ir.Constant(I32, lane)
        found = b.insert_element(found, b.call(function, [b.extract_element(values, place)]), place)
    return found


def _suffix(kind: Any) -> str:
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_suffix(kind.element)}"
    return "f32" if kind == F32 else "f64" if kind == F64 else f"i{kind.width}"


def towards_zero(b: ir.IRBuilder, operation: str, left: Any, right: Any) -> Any:
    """Return a float operation that is rounded towards zero, the mode that the driver has set.

    The intrinsic forbids LLVM to assume another rounding.
    """
    name, kind = f"llvm.experimental.constrained.{operation}.{_suffix(left.type)}", ir.MetaDataType()
    known = b.module.globals.get(name)
    function = known or ir.Function(b.module, ir.FunctionType(left.type, [left.type, left.type, kind, kind]), name)
    notes = [ir.MetaDataString(b.module, text) for text in ("round.towardzero", "fpexcept.ignore")]
    return b.call(function, [left, right, *notes])


def popcount(b: ir.IRBuilder, mask: Any) -> Any:
    """Return the number of set lanes of a mask, as 64 bits."""
    bits = b.bitcast(mask, ir.IntType(mask.type.count))
    count = call(b, "llvm.ctpop", [bits])
    return count if count.type == I64 else (b.zext if count.type.width < 64 else b.trunc)(count, I64)


def part(b: ir.IRBuilder, values: Any, first: int, lanes: int) -> Any:
    """Return some lanes of a vector."""
    numbers = ir.Constant(vector(I32, lanes), [*range(first, first + lanes)])
    return b.shuffle_vector(values, ir.Constant(values.type, ir.Undefined), numbers)


def joined(b: ir.IRBuilder, parts: list[Any]) -> Any:
    """Return one vector of the lanes of all parts, whose number is a power of two."""
    while len(parts) > 1:
        lanes = ir.Constant(vector(I32, 2 * parts[0].type.count), [*range(2 * parts[0].type.count)])
        parts = [b.shuffle_vector(one, two, lanes) for one, two in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def fold_halves(b: ir.IRBuilder, value: Any, fold: Callable[[Any, Any], Any], lanes: int = 8) -> Any:
    """Return a vector of `lanes`, made by folding the halves of a longer one until it is that short."""
    while value.type.count > lanes:
        half = value.type.count // 2
        value = fold(part(b, value, 0, half), part(b, value, half, half))
    return value
