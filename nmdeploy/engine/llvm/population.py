"""Writer of a population's kernel, which runs all steps of a block of neurons, block after block.

``void kernel(int64 *args, int64 first, int64 last, int64 steps)`` runs the population's own steps
``first - start_offset ... last - start_offset``, as far as a sample of `steps` has them. `args` holds the values that
`ARGS` names, then the address of each synapse's sums, then those of the traces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.llvm.code import I8, I32, I64, POINTER, at, i64, load, loop, store, variable, vector
from nmdeploy.engine.llvm.spelling import Speller, zero
from nmdeploy.engine.lower.layout import ARGS, POINTERS, Form
from nmdeploy.engine.lower.statements import STEP_COUNT, STEP_NUMBER, VALID, Lowered, Memory


def write_population(module: ir.Module, name: str, lowered: Lowered, form: Form) -> None:
    """Write the kernel `name` into a module."""
    Kernel(module, name, lowered, form).write()


class Kernel(Speller):
    """Kernel of a population: its arguments, and each block's registers before, between and after its steps."""

    def __init__(self, module: ir.Module, name: str, lowered: Lowered, form: Form) -> None:
        self.lowered, self.names = lowered, [((Memory.SUMS, each), size) for each, size in lowered.sums.items()]
        self.names += [((Memory.TRACE, each), int(np.prod(sizes))) for each, sizes, _ in lowered.layout.traces]
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
        self.outer = ir.Function(module, kind, name)
        pointers = len(POINTERS) + len(self.names)
        inner = ir.FunctionType(ir.VoidType(), [POINTER] * pointers + [I64] * 5)
        self.inner = ir.Function(module, inner, f"{name}.body")
        self.inner.linkage = "internal"
        for argument in self.inner.args[:pointers]:
            argument.add_attribute("noalias")
        super().__init__(ir.IRBuilder(self.inner.append_basic_block("entry")), form)

    def write(self) -> None:
        """Write the kernel."""
        b = self.b
        self._thunk()
        self._name_arguments()
        self.totals = {name: variable(b, I64, i64(0)) for name in self.lowered.layout.counters}
        with loop(b, i64(0), self.blocks, "block") as block:
            self._block(block)
        for index, total in enumerate(self.totals.values()):
            place = at(b, self.pointer["counts"], index, I64)
            store(b, b.add(load(b, place, I64), b.load(total)), place)
        b.ret_void()

    # -- arguments

    def _thunk(self) -> None:
        """Load the addresses and call the body.

        Separate arguments show LLVM that the addresses do not overlap.
        """
        b = ir.IRBuilder(self.outer.append_basic_block("entry"))
        args, first, last, steps = self.outer.args
        count = len(self.inner.args) - 5
        fixed = len(POINTERS)
        slots = [*range(fixed), *range(len(ARGS), len(ARGS) + count - fixed)]
        pointers = [load(b, at(b, args, slot, I64), POINTER) for slot in slots]
        blocks, start_offset = (load(b, at(b, args, ARGS.index(name), I64), I64) for name in ("blocks", "start_offset"))
        b.call(self.inner, [*pointers, first, last, steps, blocks, start_offset])
        b.ret_void()

    def _name_arguments(self) -> None:
        b, given = self.b, list(self.inner.args)
        self.pointer = dict(zip(POINTERS, given, strict=False))
        named = zip(self.names, given[len(POINTERS) :], strict=False)
        self.named = {name: (address, size) for (name, size), address in named}
        first, last, steps, self.blocks, start_offset = given[-5:]
        self.start, stop = b.sub(first, start_offset), b.sub(last, start_offset)
        end = b.add(steps, i64(self.form.output_latency))
        self.first_step = b.select(b.icmp_signed(">", self.start, i64(0)), self.start, i64(0))
        self.last_step = b.select(b.icmp_signed("<", stop, end), stop, end)
        self.known[STEP_COUNT.number] = steps
        self.width = b.mul(self.blocks, i64(self.form.lanes))

    # -- one block of neurons

    def _block(self, block: Any) -> None:
        b, lowered, pointer = self.b, self.lowered, self.pointer
        self.first = b.mul(block, i64(self.form.lanes))
        # The number of slots of a block is known to the caller only: the first shared slot holds it.
        slots = load(b, at(b, pointer["shared"], 0, I64), I64)
        self.memory = {
            Memory.OWN: at(b, pointer["own"], b.mul(self.first, slots), I32),
            Memory.SHARED: pointer["shared"],
            Memory.STATE: at(b, pointer["state"], b.mul(self.first, i64(lowered.layout.state_slots)), I32),
            Memory.SCRATCH: pointer["scratch"],
        }
        for number, (slot, lane) in enumerate(lowered.held):
            value = self.load_slot(Memory.STATE, slot, 0, lane)
            self.variables[number] = variable(b, value.type, value)
        if self.form.ragged:
            flags = load(b, at(b, pointer["valid"], self.first, I8), vector(I8, self.form.lanes))
            self.known[VALID.number] = b.icmp_signed("!=", flags, zero(flags))
        self.spell(lowered.block)
        with loop(b, self.first_step, self.last_step, "t") as t:
            self.known[STEP_NUMBER.number], self.row = t, b.sub(t, self.start)
            self.spell(lowered.step)
        for number, (slot, lane) in enumerate(lowered.held):
            self.store_slot(Memory.STATE, slot, 0, b.load(self.variables[number]), lane)
