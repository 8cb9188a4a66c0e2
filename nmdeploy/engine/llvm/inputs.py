"""Writer of the kernel that reads a sample's input codes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from nmdeploy.engine.llvm.code import I8, I32, I64, POINTER, at, i64, load, loop, store, variable, vector
from nmdeploy.engine.lower.layout import SIDE

WORD = 64


def write_input(module: ir.Module, name: str, bits: int, signed: bool, binary: bool) -> None:
    """Write the kernel that turns a sample's input codes of `bits` bits into bits, or into 32-bit codes.

    Rows of codes follow each other. Rows of the output are `stride` bytes apart and have a multiple of 8 entries each.
    """
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
    function = ir.Function(module, kind, name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    args, first, last, steps = function.args
    codes, out = (load(b, at(b, args, i, I64), POINTER) for i in range(2))
    channels, stride = (load(b, at(b, args, i, I64), I64) for i in (2, 3))
    last = b.select(b.icmp_signed("<", last, steps), last, steps)
    last = b.select(b.icmp_signed(">", last, first), last, first)  # nothing to read in a chunk after the last step
    code = ir.IntType(bits)
    if binary:  # rows of whole words follow each other without a gap
        with b.if_then(b.icmp_signed("==", b.and_(channels, i64(WORD - 1)), i64(0))):
            start, words = b.mul(first, channels), b.lshr(b.mul(b.sub(last, first), channels), i64(6))
            _pack(b, at(b, codes, start, code), at(b, out, b.lshr(start, i64(3)), I8), words, code)
            b.ret_void()
    with loop(b, first, last, "t") as t:
        source = at(b, codes, b.mul(t, channels), code)
        target = at(b, out, b.mul(t, stride), I8)
        whole, most = b.lshr(channels, i64(3)), i64(0)
        if binary:
            words = b.lshr(channels, i64(6))
            most = b.shl(words, i64(3))
            _pack(b, source, target, words, code)
        with loop(b, most, whole, "eight") as index:
            eight = load(b, at(b, source, b.shl(index, i64(3)), code), vector(code, SIDE))
            if binary:
                mask = b.icmp_signed("!=", eight, ir.Constant(eight.type, [0] * SIDE))
                store(b, b.bitcast(mask, I8), at(b, target, index, I8))
            else:
                store(b, _code32(b, eight, bits, signed), at(b, target, b.shl(index, i64(5)), I8))
        rest = variable(b, I8, ir.Constant(I8, 0))
        with loop(b, b.shl(whole, i64(3)), channels, "channel") as channel:
            one = load(b, at(b, source, channel, code), code)
            if binary:
                bit = b.zext(b.icmp_signed("!=", one, ir.Constant(code, 0)), I8)
                b.store(b.or_(b.load(rest), b.shl(bit, b.trunc(b.and_(channel, i64(7)), I8))), rest)
            else:
                store(b, _code32(b, one, bits, signed), at(b, target, b.shl(channel, i64(2)), I8))
        if binary:
            with b.if_then(b.icmp_signed("!=", b.and_(channels, i64(7)), i64(0))):
                store(b, b.load(rest), at(b, target, whole, I8))
    b.ret_void()


def _pack(b: ir.IRBuilder, source: Any, target: Any, words: Any, code: Any) -> None:
    """Write one bit per code, 64 per word: 1 if the code is not 0."""
    with loop(b, i64(0), words, "word") as index:
        many = load(b, at(b, source, b.shl(index, i64(6)), code), vector(code, WORD))
        mask = b.icmp_signed("!=", many, ir.Constant(many.type, [0] * WORD))
        store(b, b.bitcast(mask, I64), at(b, target, b.shl(index, i64(3)), I8))


def _code32(b: ir.IRBuilder, value: Any, bits: int, signed: bool) -> Any:
    wide = vector(I32, SIDE) if isinstance(value.type, ir.VectorType) else I32
    if bits == 32:
        return value
    if bits > 32:
        return b.trunc(value, wide)
    return b.sext(value, wide) if signed else b.zext(value, wide)
