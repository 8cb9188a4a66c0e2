"""The results as tables, in the terminal and as Markdown for the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.pages import Table, draw, load_words, markdown

MARKER = "results"
MISSING, BUSY = "-", 0.5
UNIFORM = (
    "The required share of the bound for LIF applies to populations with uniform parameters. With parameters per "
    "neuron (lif-128-mixed, below), nothing is required."
)
FLOATS = (
    "Multiply-adds count as those of float32, which hold states of 24 bits and of which the machine does twice as "
    "many. If a neuron sums products before it rounds them (per-sum), the sums need float64, and its rate counts."
)


def tables(content: Mapping[str, Any]) -> list[Table]:
    """Return all tables that have a row."""
    kinds = (
        *(required, times, shares, work, libraries, loops, single, growth, updates, rows, training),
        *(process, conversion, depth, traces),
    )
    return [table for table in (make(content) for make in kinds) if table.rows]


def required(content: Mapping[str, Any]) -> Table:
    """Return the verdicts."""
    words = {True: "yes", False: "NO", None: "left out"}
    rows = [
        (
            line["name"],
            line["against"],
            number(line["ratio"]),
            number(line["required"]),
            words[line["ok"]],
            line["before"],
        )
        for line in content["cases"]
    ]
    columns = ("case", "against", "ratio", "required", "ok", "at 47c41a5")
    return Table("required", columns, rows, " ".join(filter(None, (UNIFORM, busy(content["machine"]["load"])))))


def busy(load: float | None) -> str:
    """Return a warning if other programs ran."""
    if load is None or load <= BUSY:
        return ""
    return f"WARNING: the load was {load:.2f} at the start: other programs slowed what was measured."


def times(content: Mapping[str, Any]) -> Table:
    """Return the milliseconds per sample of each backend."""
    measured = content["measured"]
    rows = []
    for name, own in measured.get("compiled", {}).items():
        others = [milliseconds(measured.get(backend, {}).get(name)) for backend in ("reference", "lava")]
        equal = measured["equal"].get(name, {})
        same = ", ".join(f"{backend} {'equal' if is_same else 'DIFFERS'}" for backend, is_same in equal.items())
        spread = f"{1e3 * own['fastest']:.4g} - {1e3 * own['slowest']:.4g}"
        found = [100 * rate for rate in measured.get("rates", {}).get(name, {}).values()]
        sent = f"{min(found):.3g} - {max(found):.3g} %" if found else MISSING
        rows.append((name, milliseconds(own), spread, str(own["batch"]), *others, same, sent))
    columns = ("ms per sample", "compiled", "fastest - slowest", "batch", "reference", "Lava", "spikes", "rates")
    return Table("medians", columns, rows)


def work(content: Mapping[str, Any]) -> Table:
    """Return the amounts of work, and the rates of the deciding turn, from which the bounds follow."""
    rows = [
        (name, kind, f"{amount:.4g}", f"{rate / 1e9:.4g}", f"{1e6 * amount / rate:.4g}")
        for name, found in content["measured"].get("bound", {}).items()
        if "rates" in found
        for kind, amount, rate in _resources(found["work"], found["rates"])
    ]
    columns = ("per sample", "resource", "amount", "1e9 per second", "us")
    return Table("the bound's times = amounts / rates, in the turn that decides", columns, rows, FLOATS)


def _resources(work: Mapping[str, Any], rates: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield name, amount and rate of all that a network needs."""
    kinds = {
        "rows of {}": ("rows", "rows"),
        "rows of {} in pairs": ("rows", "rows_in_pairs"),
        "multiply-adds of float{}": ("state_operations", "multiply_adds"),
    }
    for name, (amounts, known) in kinds.items():
        for key, amount in work[amounts].items():
            if key in rates[known]:
                yield name.format(key), amount, rates[known][key]
    yield "bytes", work["bytes_moved"], rates["bytes_copied"]


def shares(content: Mapping[str, Any]) -> Table:
    """Return the bound over `compiled`, in the deciding turn."""
    rows = []
    for name, found in content["measured"].get("bound", {}).items():
        if "share" not in found:
            continue
        times = (f"{1e6 * found[key]:.4g}" for key in ("seconds", "compiled"))
        spread = f"{min(found['shares']):.3f} - {max(found['shares']):.3f}"
        pairs = found["in_pairs"]
        paired = (f"{1e6 * pairs['seconds']:.4g}", f"{pairs['share']:.3f}") if pairs else (MISSING, MISSING)
        rows.append((name, found["limited_by"], *times, f"{found['share']:.3f}", spread, *paired))
    columns = (
        "us per sample",
        "longest",
        "bound",
        "compiled",
        "share",
        "all turns",
        "bound, rows in pairs",
        "share of it",
    )
    return Table("share of the bound = bound / compiled, in the turn that decides", columns, rows)


def libraries(content: Mapping[str, Any]) -> Table:
    """Return the float libraries."""
    rows = []
    for workload, found in content["measured"].get("peers", {}).items():
        for name, result in found.items():
            if "error" in result:
                rows.append((workload, name, *[MISSING] * 4, result["error"]))
                continue
            rate, same = f"{result['spike_rate']:.3f}", f"{100 * result['agreement']:.1f} %"
            tried = ", ".join(f"{batch}: {1e3 * seconds:.3g}" for batch, seconds in result["tried"].items())
            rows.append((workload, name, milliseconds(result), str(result["batch"]), tried, rate, same))
    batches = "ms per sample by batch, in the search"
    columns = ("network", "library", "ms per sample", "batch", batches, "spike rate", "output equal to the integers'")
    return Table("float libraries", columns, rows)


def loops(content: Mapping[str, Any]) -> Table:
    """Return the times of the event loop that Numba compiles."""
    found = [
        (name, *(f"{1e6 * each[key]:.4g}" for key in ("compiled", "numba")), f"{each['ratio']:.4g}", spread)
        for name, each in content["measured"].get("event_loop", {}).items()
        for spread in [f"{min(each['ratios']):.4g} - {max(each['ratios']):.4g}"]
    ]
    columns = ("us", "compiled", "the event loop", "ratio", "all turns")
    return Table("an event loop compiled by Numba, LIF, 128 channels", columns, found)


def single(content: Mapping[str, Any]) -> Table:
    """Return the times of single samples on one processor and on all."""
    found = [
        (name, *(f"{1e6 * each[key]:.4g}" for key in ("alone", "shared", "two")), f"{each['gain']:.3f}",
         f"{each['gain of two']:.3f}", f"{min(each['ratios']):.3f} - {max(each['ratios']):.3f}")
        for name, each in content["measured"].get("one_sample", {}).items()
    ]  # fmt: skip
    columns = ("us", "one processor", "all", "two samples", "gain", "gain of two samples", "ratio, all turns")
    return Table("one sample on all processors", columns, found)


def growth(content: Mapping[str, Any]) -> Table:
    """Return the sweeps."""
    return Table(
        "growth of compiled, in the round that decides",
        ("with", "exponent", "all rounds", "value: ms"),
        _exponents(content["measured"].get("exponent", {})),
    )


def depth(content: Mapping[str, Any]) -> Table:
    """Return the growth of `check` with the layers of a chain."""
    return Table(
        "growth of a command with the layers of a chain of LIF layers of 100 neurons, CPU time",
        ("command", "exponent", "all rounds", "layers: ms"),
        _exponents(content["measured"].get("depth", {})),
    )


def _exponents(measured: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{found['exponent']:.3f}",
            f"{min(found['exponents']):.3f} - {max(found['exponents']):.3f}",
            "  ".join(f"{x:g}: {1e3 * s:.4g}" for x, s in zip(found["x"], found["seconds"], strict=True)),
        )
        for name, found in measured.items()
    ]


def updates(content: Mapping[str, Any]) -> Table:
    """Return the updates of neurons and states, in the deciding turn."""
    measured = content["measured"]
    rows = [
        (
            f"{kind}, vectors of {found['bits']} bits",
            *(f"{found[name] / 1e9:.4g}" for name in ("compiled", "scalar")),
            f"{found['ratio']:.4g}",
            f"{min(found['ratios']):.4g} - {max(found['ratios']):.4g}",
            f"{found['vectors'] / 1e9:.4g}" if "vectors" in found else MISSING,
        )
        for part in ("updates", "narrow")
        for kind, found in measured.get(part, {}).items()
    ]
    columns = ("1e9 updates per second", "compiled", "scalar loop", "ratio", "all turns", "loop of vectors")
    return Table("updates of LIF neurons, of complex states, in the turn that decides", columns, rows)


def rows(content: Mapping[str, Any]) -> Table:
    """Forms of rows of sparse synapses."""
    found = [
        (name, each["form"], *(f"{1e3 * each[key]:.4g}" for key in ("chosen", "dense")), f"{each['ratio']:.4g}", spread)
        for name, each in content["measured"].get("rows", {}).items()
        for spread in [f"{min(each['ratios']):.4g} - {max(each['ratios']):.4g}"]
    ]
    columns = ("ms a sample", "chosen form", "chosen", "dense rows", "ratio", "all turns")
    return Table("sparse synapses: the rows that are chosen, and dense rows", columns, found)


def training(content: Mapping[str, Any]) -> Table:
    """Return the passes of training."""
    found = [
        (name, f"{each['seconds']:.4g}", number(each.get("ratio")), spread)
        for name, each in content["measured"].get("training", {}).items()
        for spread in [f"{min(each['ratios']):.4g} - {max(each['ratios']):.4g}" if "ratios" in each else MISSING]
    ]
    columns = ("seconds per pass", "median", "ratio", "all turns")
    return Table("training, forward and backward", columns, found)


def process(content: Mapping[str, Any]) -> Table:
    """Return time and memory of a whole process."""
    found = content["measured"].get("startup", {})
    rows = [("seconds, warm cache", f"{found['seconds']:.3f}")] if found else []
    if "megabytes" in found:
        held = {"the demo's": found["megabytes"], **{f"{int(n):,}": peak for n, peak in found["with_samples"].items()}}
        rows += [(f"most memory for {samples} samples, MB", f"{peak:.1f}") for samples, peak in held.items()]
    return Table("simulate on the demo's model, the whole process", ("", "measured"), rows)


def conversion(content: Mapping[str, Any]) -> Table:
    """Return time and memory of check and export of a large network."""
    rows = [
        (command, f"{found['seconds']:.1f}", f"{found['megabytes']:.0f}" if "megabytes" in found else MISSING)
        for command, found in content["measured"].get("conversion", {}).items()
    ]
    title = "10,000 neurons and 10 million synapses, 16 calibration samples of 32 steps, the whole process"
    return Table(title, ("command", "seconds", "most memory, MB"), rows)


def traces(content: Mapping[str, Any]) -> Table:
    """Return time, memory and size of a trace of all states."""
    measured = content["measured"].get("traces", {})
    rows = [
        (command, f"{found['seconds']:.1f}", f"{found['megabytes']:.0f}" if "megabytes" in found else MISSING)
        for command, found in measured.items()
        if command != "bytes"
    ]
    sizes = ", ".join(f"{value:.2f} {where}" for where, value in measured.get("bytes", {}).items())
    note = f"Bytes per real state and step: {sizes}." if sizes else ""
    title = "One sample with all states, 6 layers of 512 channels and 64 complex states, 1,024 steps, the whole process"
    return Table(title, ("command", "seconds", "most memory, MB"), rows, note)


def number(value: float | None) -> str:
    """Return four digits, or a dash."""
    return MISSING if value is None else f"{value:.4g}"


def milliseconds(found: Mapping[str, Any] | None) -> str:
    """Return the milliseconds of an entry with seconds, or a dash."""
    return MISSING if not found or "seconds" not in found else f"{1e3 * found['seconds']:.4g}"


def rates(found: Mapping[str, Any]) -> str:
    """Return the highest rates of the machine in the whole run, in words."""
    rows = ", ".join(f"{rate / 1e9:.4g}e9 rows of {width} added" for width, rate in found["rows"].items())
    kinds = ", ".join(f"{rate / 1e9:.4g}e9 of float{bits}" for bits, rate in found["multiply_adds"].items())
    copied = found["bytes_copied"] / 1e9
    pairs = ", ".join(f"{rate / 1e9:.4g}e9 of {width} in pairs" for width, rate in found["rows_in_pairs"].items())
    added = "; ".join(each for each in (rows, pairs) if each)
    return (
        f"The machine's most per second, in the whole run: {added}; multiply-adds: {kinds}; {copied:.4g}e9 bytes "
        "copied. In the turns that decide it may have been slower, as shown there."
    )


def show(content: Mapping[str, Any]) -> None:
    """Print all tables."""
    draw(tables(content))
    print(rates(content["bounds"]))
    print(load_words(content["machine"]["load"]).capitalize())
    for reason, count in Counter(line["reason"] for line in content["missing"]).items():
        print(f"cases without a ratio ({reason}): {count}")


def report(content: Mapping[str, Any]) -> str:
    """Return all tables as Markdown, below a line that names the machine."""
    found = content["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    where = f"{found['cpu']}, {found['cores']} cores, {load_words(found['load'])}, {packages}"
    head = f"Printed by `make bench` on {found['date']}: {where}."
    return "\n\n".join([head, rates(content["bounds"]), *map(markdown, tables(content))])
