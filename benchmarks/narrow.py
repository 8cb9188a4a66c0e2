"""Kernels of half the processor's vector width, which the check of vectors must reject.

``python -m benchmarks.narrow TURNS KIND...`` hides the wider vectors from LLVM, and so from the engine. It prints as
JSON what `benchmarks/updates.py` then measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

ROOT = Path(__file__).parent.parent
# Features that need vectors of so many bits, by the beginning of LLVM's names.
NEEDS = {512: ("avx512", "avx10", "evex512"), 256: ("avx", "fma", "f16c", "xop", "vaes", "vpclmulqdq")}


def hide(bits: int) -> None:
    """Hide the features of vectors of `bits` bits and more from LLVM; call it before anything is compiled."""
    whole = llvm.get_host_cpu_features
    names = tuple(name for width, names in NEEDS.items() if width >= bits for name in names)

    def fewer() -> Any:
        found = whole()
        found.update({name: False for name in found if name.startswith(names)})
        return found

    llvm.get_host_cpu_features = fewer


def measured(kinds: Sequence[str], turns: int) -> dict[str, Any]:
    """Measure each kind, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.narrow", str(turns), *kinds]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(turns: int, kinds: Sequence[str]) -> None:
    """Measure and print."""
    from benchmarks import updates

    width = updates.native_bits()
    updates.has.cache_clear()  # type: ignore[attr-defined]
    hide(width)
    print(json.dumps({kind: updates.measure(kind, turns) for kind in kinds}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
