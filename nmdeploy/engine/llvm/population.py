"""Writer of a population's kernel, which runs all steps of a block of neurons, block after block.

``void kernel(int64 *args, int64 first, int64 last, int64 steps)`` runs the population's own steps
``first - start_offset ... last - start_offset``, as far as a sample of `steps` has them. `args` holds the values that
`ARGS` names, then the address of each synapse's sums, then those of the traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from llvmlite import ir

from nmdeploy.engine.llvm.code import I8, I32, I64, POINTER, at, i64, load, loop, store, variable, vector
from nmdeploy.engine.llvm.floats import plan_scales
from nmdeploy.engine.llvm.stepping import StepWriter
from nmdeploy.engine.llvm.values import Places, Values
from nmdeploy.engine.lower.lanes import LaneChoice
from nmdeploy.engine.lower.layout import ARGS, POINTERS, Form, Layout, RegisterPlace, elements
from nmdeploy.engine.lower.schedule import loop_sizes, schedule
from nmdeploy.engine.lower.slots import Slots, slots_of
from nmdeploy.engine.lower.small_sums import small_sums
from nmdeploy.engine.trace.step import Register, Step


def write_population(module: ir.Module, name: str, step: Step, choice: LaneChoice, form: Form, blocks: int) -> Layout:
    """Write the kernel `name` into a module; raise `NotTraceable` if it cannot be written."""
    return Kernel(module, name, step, choice, form, blocks).write()


class Kernel:
    """Kernel of a population: its arguments, and each block's registers before, between and after its steps."""

    def __init__(self, module: ir.Module, name: str, step: Step, choice: LaneChoice, form: Form, blocks: int) -> None:
        self.step, self.form, self.choice, self.bounds, self.filled = step, form, choice, choice.bounds, blocks
        self.schedule = schedule(step, form.traced)
        self.small = None if form.real else small_sums(step, choice)
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64])
        self.outer = ir.Function(module, kind, name)
        traces = [*step.recorded] if form.traced else []
        pointers = len(POINTERS) + len(form.sums) + len(traces)
        inner = ir.FunctionType(ir.VoidType(), [POINTER] * pointers + [I64] * 5)
        self.inner = ir.Function(module, inner, f"{name}.body")
        self.inner.linkage = "internal"
        for argument in self.inner.args[:pointers]:
            argument.add_attribute("noalias")
        self.traces = traces
        self.slots = Slots()
        self.counters = ["events", "events_sent", "active", *step.flags]

    def write(self) -> Layout:
        """Write the kernel and return its layout."""
        self._thunk()
        self.b = ir.IRBuilder(self.inner.append_basic_block("entry"))
        self._name_arguments()
        self.registers = self._held()
        self.values = self._values(self.choice)
        self.for_small = None if self.small is None else self._values(self.small.choice)
        self.totals = {name: variable(self.b, I64, i64(0)) for name in self.counters}
        with loop(self.b, i64(0), self.blocks, "block") as block:
            self._block(block)
        for index, name in enumerate(self.counters):
            place = at(self.b, self.pointer["counts"], index, I64)
            store(self.b, self.b.add(load(self.b, place, I64), self.b.load(self.totals[name])), place)
        self.b.ret_void()
        traces = tuple((name, self.step.recorded[name].sizes, self.trace_bits(name)) for name in self.traces)
        return Layout(
            *self.slots.fill(self.step.neurons, self.filled, self.form.lanes),
            tuple(self.registers.values()),
            self.state_slots,
            max(each.scratch_size for each in (self.values, self.for_small) if each is not None),
            tuple(self.counters),
            traces,
        )

    def _values(self, choice: LaneChoice) -> Values:
        made = Values(self.b, self.form.lanes, choice, self.slots)
        plan_scales(made, choice.nodes)
        made.state = {name: held.slot for name, held in self.registers.items()}
        return made

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
        given = list(self.inner.args)
        self.pointer = dict(zip(POINTERS, given, strict=False))
        rest = given[len(POINTERS) :]
        self.sums = dict(zip(self.form.sums, rest, strict=False))
        self.trace = dict(zip(self.traces, rest[len(self.form.sums) :], strict=False))
        first, last, steps, self.blocks, start_offset = given[-5:]
        b = self.b
        start, stop = b.sub(first, start_offset), b.sub(last, start_offset)
        self.base = start
        end = b.add(steps, i64(self.form.output_latency))
        self.first = b.select(b.icmp_signed(">", start, i64(0)), start, i64(0))
        self.last = b.select(b.icmp_signed("<", stop, end), stop, end)
        self.steps = steps
        self.width = b.mul(self.blocks, i64(self.form.lanes))

    def _held(self) -> dict[str, RegisterPlace]:
        slot, held = 0, {}
        for name, register in self.step.registers.items():
            node = register.old.node
            held[name] = RegisterPlace(slot, node.dims, self.choice.lane(node), register.start)
            slot += int(np.prod(node.dims)) * slots_of(held[name].lane)
        self.state_slots = max(slot, 1)
        return held

    # -- one block of neurons

    def _block(self, block: Any) -> None:
        b, lanes, values = self.b, self.form.lanes, self.values
        size = b.mul(block, i64(lanes))

        def part(name: str, slots: Any) -> Any:
            return at(b, self.pointer[name], b.mul(size, slots), I32)

        # The number of slots of a block is known only at the end: the first shared slot holds it.
        values.places = Places(
            own=part("own", load(b, at(b, self.pointer["shared"], 0, I64), I64)),
            shared=self.pointer["shared"],
            state=part("state", i64(self.state_slots)),
            scratch=self.pointer["scratch"],
            steps=self.steps,
        )
        self.first_neuron = size
        with ExitStack() as opened:
            prologues = [opened.enter_context(each.scope()) for each in (values, self.for_small) if each is not None]
            self._registers_in()
            self.valid = self._valid() if self.form.ragged else None
            for prologue in prologues:
                prologue.block = b.block
            with loop(b, self.first, self.last, "t") as t:
                self._step(t)
            prologues[0].block = b.block
        self._registers_out()

    def _step(self, t: Any) -> None:
        """Write step `t`, in two forms if sums that are small allow another one."""
        writer = StepWriter(self, self.values)
        writer.prepare(t)
        if self.small is None or self.for_small is None:
            writer.write(t)
            return
        self.for_small.places = self.values.places
        with self.values.scope():
            beyond = writer.any_set(self.small.beyond)
        with self.b.if_else(beyond, likely=False) as (large, small):
            with large:
                writer.write(t)
            with small:
                StepWriter(self, self.for_small).write(t)

    def _valid(self) -> Any:
        flags = load(self.b, at(self.b, self.pointer["valid"], self.first_neuron, I8), vector(I8, self.form.lanes))
        return self.b.icmp_signed("!=", flags, ir.Constant(flags.type, [0] * self.form.lanes))

    def in_registers(self) -> Iterator[tuple[str, Register, RegisterPlace]]:
        """Yield the registers without a loop, which are the processor's registers while a block runs."""
        for name, register in self.step.registers.items():
            if not loop_sizes(register.old.node.dims):
                yield name, register, self.registers[name]

    def _registers_in(self) -> None:
        values = self.values
        for name, register, held in self.in_registers():
            for element, index in enumerate(elements(held.dims)):
                value = values._load(values.places.state, held.slot, register.old.node, index, held.lane)
                values.places.variables[name, element] = variable(self.b, value.type, value)

    def _registers_out(self) -> None:
        values = self.values
        for name, _, held in self.in_registers():
            for element, index in enumerate(elements(held.dims)):
                value = self.b.load(values.places.variables[name, element])
                values.store(values.places.state, held.slot, held.dims, index, value, held.lane)

    def trace_bits(self, name: str) -> int:
        """Return the width of a recorded state: 1 (a condition, in 32 bits of memory), 32 or 64."""
        if self.form.real:
            return 64
        if self.step.recorded[name].node.boolean:
            return 1
        return 32 if self.bounds[self.step.recorded[name].node].magnitude < 2.0**31 else 64
