"""All measurements in one run: ``python -m benchmarks.run``, explained in docs/benchmarks.md.

Exit code 1 if a case misses its requirement.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import pages, plot, results, startup, table
from benchmarks.cases import CASES, WORKLOADS, Case
from benchmarks.measure import SWEEPS, Suite, of
from benchmarks.timing import QUICK, Effort
from benchmarks.updates import LEAST_BITS, native_bits

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name or opponent contains it")
    parser.add_argument("--no-lava", action="store_true", help="leave Lava out")
    parser.add_argument("--no-peers", action="store_true", help="leave the float libraries out")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/benchmarks.md too")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "build" / "bench", metavar="FOLDER")
    return parser.parse_args(arguments)


def left_out(chosen: argparse.Namespace) -> dict[str, str]:
    """Return why the user left something out, by measure or by the title of a case."""
    missing = {case.title: f"not in --only {chosen.only}" for case in CASES if not case.chosen(chosen.only)}
    if not startup.STATUS.exists():
        missing |= {case.title: "needs Linux's /proc" for case in CASES if case.of in ("megabytes", "with_samples")}
    if native_bits() == LEAST_BITS:
        missing["narrow"] = "the processor has no vectors of several widths"
    return missing | {measure: f"--no-{measure}" for measure in ("lava", "peers") if getattr(chosen, f"no_{measure}")}


def needed(chosen: argparse.Namespace) -> list[Case]:
    """Return the cases to be measured."""
    missing = left_out(chosen)
    return [case for case in CASES if case.chosen(chosen.only) and case.measure not in missing]


def progress() -> Callable[[str], None]:
    """Return a function that prints lines with the seconds since the start."""
    start = time.perf_counter()
    return lambda text: print(f"[{time.perf_counter() - start:6.1f} s] {text}", flush=True)


def measured(cases: Sequence[Case], everything: bool, suite: Suite) -> dict[str, str]:
    """Measure the needs of the cases, and with `everything` also the rest; return failures with reasons."""
    wanted = {case.of for case in cases if case.of in WORKLOADS}
    suite.prepare([name for name in WORKLOADS if everything or name in wanted])
    suite.rate_machine()
    suite.time_compiled()
    suite.find_bounds()
    updates, sweeps, rows = (of(cases, each) for each in ("updates", "exponent", "rows"))
    shapes, loops, single = (of(cases, each) for each in ("exported", "event_loop", "one_sample"))
    if updates:
        suite.time_updates(updates)
    if rows:
        suite.time_rows(rows)
    if shapes:
        suite.time_exported(shapes)
    if loops:
        suite.time_event_loop(loops)
    if single:
        suite.time_one_sample(single)
    if sweeps:
        suite.time_scaling(SWEEPS if everything else sweeps)
    outside = {
        "training": suite.time_training,
        "narrow": suite.time_narrow,
        "startup": suite.time_startup,
        "calibration": suite.time_calibration,
        "conversion": suite.time_conversion,
        "depth": suite.time_depth,
        "traces": suite.time_traces,
        "lava": suite.time_lava,
        "peers": suite.time_peers,
    }
    failed = {}
    for name, call in outside.items():
        workloads = of(cases, name)
        reason = call(workloads) if workloads else None
        if reason:
            failed[name] = reason
            suite.progress(f"{name}: {reason}")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return the exit code."""
    chosen = options(arguments)
    cases = needed(chosen)
    if not cases:
        print("no case is chosen", file=sys.stderr)
        return 2
    if chosen.docs and (chosen.quick or chosen.only or chosen.no_lava or chosen.no_peers):
        print(
            "--docs writes the record of a whole run: not with --quick, --only, --no-lava or --no-peers",
            file=sys.stderr,
        )
        return 2
    load = results.load_now()
    suite = Suite(QUICK if chosen.quick else Effort(), progress())
    if table.busy(load):
        suite.progress(table.busy(load))
    failed = measured(cases, not chosen.only, suite)
    assert suite.rates is not None
    content = results.results(CASES, suite.measured, suite.rates.to_json(), left_out(chosen), failed, load)
    results.write(content, chosen.out / "results.json")
    plot.draw(content, chosen.out)
    table.show(content)
    if chosen.docs:
        pages.fill(PAGE, table.MARKER, table.report(content))
    suite.progress(f"wrote {chosen.out}")
    return 0 if results.passed(content) else 1


if __name__ == "__main__":
    sys.exit(main())
