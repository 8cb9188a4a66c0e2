"""Writer of the loop over samples, steps and kernels, by which one call from Python runs many samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from nmdeploy.engine.llvm.code import I32, I64, POINTER, at, i64, load, loop, store
from nmdeploy.engine.lower.layout import DRIVER_FIELDS, DRIVER_NUMBERS

TOWARDS_ZERO, WORD_BYTES = 0, 8
LOOKS, YIELDING = 1 << 12, ("linux", "darwin", "apple")
RANGE = ("first", "last", "stepwise")
KERNEL = ("function", "args")
RESET = ("target", "source", "words")
MOVE = ("address", "stride")


def write_driver(module: ir.Module, name: str) -> None:
    """Write ``void driver(int64 *program)``.

    For each sample it copies the registers' start (`resets`), runs the steps from `first` to `last` (exclusive) that
    the sample has, in chunks, then moves the pointers that belong to a sample (`moves`). Within a chunk, each range of
    kernels runs all steps, kernel after kernel. A stepwise range, which holds a feedback loop, runs step after step. A
    chunk waits until the word at `awaited` has its last step, and writes that to the word at `reached`. Drivers on
    several processors share a sample so, each with some of the kernels.
    """
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    program = function.args[0]
    field = {
        key: load(b, at(b, program, index, I64), I64 if key in DRIVER_NUMBERS else POINTER)
        for index, key in enumerate(DRIVER_FIELDS)
    }
    before = b.call(ir.Function(module, ir.FunctionType(I32, []), "llvm.get.rounding"), [])
    rounding = ir.Function(module, ir.FunctionType(ir.VoidType(), [I32]), "llvm.set.rounding")
    restore = _save_rounding_mode(b)
    b.call(rounding, [ir.Constant(I32, TOWARDS_ZERO)])
    with loop(b, i64(0), field["samples"], "sample") as sample:
        steps = load(b, at(b, field["lengths"], sample, I64), I64)
        with _rows(b, field["resets"], RESET) as (target, source, words):
            _copy(b, target, source, words)
        last = b.add(steps, field["drain_steps"])
        last = b.select(b.icmp_signed("<", field["last"], last), field["last"], last)
        more = b.sub(last, field["first"])
        chunks = b.sdiv(b.add(more, b.sub(field["chunk"], i64(1))), field["chunk"])
        with loop(b, i64(0), chunks, "chunk") as chunk:
            first = b.add(field["first"], b.mul(chunk, field["chunk"]))
            end = b.add(first, field["chunk"])
            end = b.select(b.icmp_signed("<", end, last), end, last)
            _wait(b, field["awaited"], end)
            with _rows(b, field["ranges"], RANGE) as (low, high, stepwise):
                kernels = field["kernels"], low, high
                branches = b.if_else(b.icmp_signed("!=", stepwise, i64(0)))
                with branches as (one_by_one, at_once):
                    with one_by_one, loop(b, first, end, "step") as step:
                        _run(b, *kernels, step, b.add(step, i64(1)), steps)
                    with at_once:
                        _run(b, *kernels, first, end, steps)
            b.atomic_rmw("xchg", field["reached"], end, "release")
        with _rows(b, field["moves"], MOVE) as (address, stride):
            place = b.inttoptr(address, POINTER)
            store(b, b.add(load(b, place, I64), stride), place)
    b.call(rounding, [before])
    restore()
    b.ret_void()


def _save_rounding_mode(b: ir.IRBuilder) -> Callable[[], Any]:
    """Save the rounding mode of the vector unit on x86, and return the code that restores it.

    The caller may have set the modes of both floating-point units separately.
    """
    if not b.module.triple.startswith("x86_64"):
        return lambda: None
    kind = ir.FunctionType(ir.VoidType(), [POINTER])
    keep, restore = (ir.Function(b.module, kind, f"llvm.x86.sse.{name}mxcsr") for name in ("st", "ld"))
    place = b.alloca(I32)
    b.call(keep, [place])
    return lambda: b.call(restore, [place])


def _wait(b: ir.IRBuilder, word: Any, step: Any) -> None:
    """Wait until another processor has written `step` or more into a word; let other programs run now and then."""
    function, nothing = b.function, ir.FunctionType(ir.VoidType(), [])
    again, idle, done = (function.append_basic_block(f"wait.{part}") for part in ("again", "idle", "end"))
    before = b.block
    b.branch(again)
    b.position_at_end(again)
    looks = b.phi(I64, "looks")
    reached = b.load_atomic(word, "acquire", WORD_BYTES, typ=I64)
    b.cbranch(b.icmp_signed(">=", reached, step), done, idle)
    b.position_at_end(idle)
    if b.module.triple.startswith("x86_64"):
        b.call(ir.Function(b.module, nothing, "llvm.x86.sse2.pause"), [])
    more = b.add(looks, i64(1))
    if any(system in b.module.triple for system in YIELDING):
        with b.if_then(b.icmp_signed("==", b.and_(more, i64(LOOKS - 1)), i64(0)), likely=False):
            b.call(ir.Function(b.module, ir.FunctionType(I32, []), "sched_yield"), [])
    looks.add_incoming(i64(0), before)
    looks.add_incoming(more, b.block)
    b.branch(again)
    b.position_at_end(done)


class _rows:
    """Loop over a table's rows that yields their columns."""

    def __init__(self, b: ir.IRBuilder, table: Any, columns: tuple[str, ...]) -> None:
        self.b, self.table, self.columns = b, table, len(columns)
        self.loop = loop(b, i64(0), load(b, at(b, table, 0, I64), I64), "row")

    def __enter__(self) -> tuple[Any, ...]:
        row = self.loop.__enter__()
        return _columns(self.b, self.table, row, self.columns)

    def __exit__(self, *error: Any) -> None:
        self.loop.__exit__(*error)


def _columns(b: ir.IRBuilder, table: Any, row: Any, columns: int) -> tuple[Any, ...]:
    start = b.add(b.mul(row, i64(columns)), i64(1))
    return tuple(load(b, at(b, table, b.add(start, i64(column)), I64), I64) for column in range(columns))


def _copy(b: ir.IRBuilder, target: Any, source: Any, words: Any) -> None:
    to, of = b.inttoptr(target, POINTER), b.inttoptr(source, POINTER)
    with loop(b, i64(0), words, "word") as word:
        store(b, load(b, at(b, of, word, I64), I64), at(b, to, word, I64))


def _run(b: ir.IRBuilder, kernels: Any, low: Any, high: Any, first: Any, last: Any, steps: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
    with loop(b, low, high, "kernel") as index:
        function, args = _columns(b, kernels, index, len(KERNEL))
        called = b.inttoptr(function, kind.as_pointer())
        b.call(called, [b.inttoptr(args, POINTER), first, last, steps])
