"""Programs are kept on disk: planned once, never taken for what they were not made from, never required."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equal_runs import both, random_codes
from formula_neuron import formula_case
from networks_wired import chain
from processes import files

from nmdeploy.engine.llvm import compilation, machine
from nmdeploy.engine.run import plan_cache
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.nir_io import model_sha256, read, write

Change = Callable[[bytes], bytes]
RUN = """
import sys
import numpy as np
from nmdeploy.backends import compiled
from nmdeploy.nir_io import read
network = read(sys.argv[1])
made = compiled.run(network, np.ones((2, 9, network.input.size), np.uint8))
writers = ("nmdeploy.engine.llvm.compilation", "nmdeploy.engine.llvm.code")
print(made.output.sum(), *[name for name in writers if name in sys.modules])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of plans, which does not exist yet."""
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / plan_cache.FOLDER


def known(*sizes: int) -> QuantizedNetwork:
    """A network whose digest is known."""
    network = chain(1, *sizes)
    model_sha256(network)
    return network


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trace levels that were planned."""
    found: list[str] = []
    real = compilation.compile_network

    def counted(network: QuantizedNetwork, trace: str = "none") -> Any:
        found.append(trace)
        return real(network, trace)

    monkeypatch.setattr(compilation, "compile_network", counted)
    return found


def test_a_plan_is_made_once_for_each_network_and_trace(folder: Path, count: list[str]) -> None:
    for trace in ("none", "states", "none", "states"):
        plan_cache.program(known(5, 9, 12), trace)
    plan_cache.program(known(5, 9, 13), "none")
    assert count == ["none", "states", "none"]
    assert len(files(folder)) == 3


def test_what_was_kept_is_what_was_planned(folder: Path, count: list[str]) -> None:
    network = known(5, 9, 12)
    first, second = plan_cache.program(network, "states"), plan_cache.program(network, "states")
    assert len(count) == 1
    assert second.texts == first.texts and second.wires == first.wires and second.ranges == first.ranges
    for name, made in first.populations.items():
        assert np.array_equal(made.layout.own, second.populations[name].layout.own)
    for _ in range(2):  # planned, then read
        again = known(7, 70, 6)
        both(again, random_codes(again, 0, 2, 9))
    assert files(folder)


@pytest.mark.parametrize(
    "change",
    [lambda c: b"", lambda c: c[:-1], lambda c: c[:40] + bytes([c[40] ^ 1]) + c[41:], lambda c: bytes(range(256))],
)
def test_a_damaged_plan_is_made_again(folder: Path, count: list[str], change: Change) -> None:
    plan_cache.program(known(5, 9, 12), "none")
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(change(content))
    plan_cache.program(known(5, 9, 12), "none")
    assert count == ["none", "none"] and path.read_bytes() == content


def test_a_folder_that_may_only_be_read_is_used(
    folder: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an image that somebody else warmed."""

    def refused(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError

    plan_cache.program(known(5, 9, 12), "none")
    for name in ("utime", "replace", "unlink"):
        monkeypatch.setattr(os, name, refused)
    plan_cache.program(known(5, 9, 12), "none")
    assert count == ["none"]


def test_a_plan_that_cannot_be_understood_is_made_again(folder: Path, count: list[str]) -> None:
    plan_cache.program(known(5, 9, 12), "none")
    (path,) = folder.iterdir()
    machine.write_cached(path, b"\x80\x05cno_such_module\nname\n.")
    plan_cache.program(known(5, 9, 12), "none")
    assert len(count) == 2


def test_another_source_processor_or_version_does_not_take_it(
    folder: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_cache.program(known(5, 9, 12), "none")
    for changed in (
        [(plan_cache, "source_fingerprint"), (plan_cache, "_fingerprint")],
        [(machine, "target")],
        [(machine, "triple")],
    ):
        for module, name in changed:
            monkeypatch.setattr(module, name, lambda: "x86_64-other")
        plan_cache.program(known(5, 9, 12), "none")
    assert len(count) == 4 and len(files(folder)) == 4


def test_code_that_may_be_older_than_its_file_leaves_no_plan(
    folder: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file was written after the import; or while the plan was made."""
    monkeypatch.setattr(plan_cache.nmdeploy, "IMPORTED", 1.0)
    plan_cache.source_fingerprint.cache_clear()
    assert plan_cache.source_fingerprint() is None
    plan_cache.program(known(5, 9, 12), "none")
    monkeypatch.undo()
    plan_cache.source_fingerprint.cache_clear()
    monkeypatch.setenv(machine.VARIABLE, str(folder.parent))
    before = plan_cache.source_fingerprint()
    monkeypatch.setattr(plan_cache, "_fingerprint", lambda: f"{before} changed")
    plan_cache.program(known(5, 9, 12), "none")
    assert not folder.exists()


def test_every_source_file_counts() -> None:
    package = Path(plan_cache.__file__).parents[1]
    listed = plan_cache.source_fingerprint()
    assert all(str(path.relative_to(package)) in listed for path in package.rglob("*.py"))


def test_what_is_not_known_to_be_the_same_is_not_kept(folder: Path, count: list[str]) -> None:
    """A network without a digest; a family of someone else's, whose code may change."""
    for _ in range(2):
        plan_cache.program(chain(1, 5, 9, 12), "none")
        network = formula_case({"r": lambda e: e.a * 3}).network
        vars(network)["_sha256"] = "0" * 64
        plan_cache.program(network, "none")
    assert len(count) == 4 and not folder.exists()


def test_only_the_newest_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "PLANS_MAX", 3)
    for index in range(6):
        plan_cache.get_or_make(lambda index=index: index, f"{index}")
        for age, path in enumerate(sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)):
            os.utime(path, ns=(0, (100 * index - age) * 10**9))
    assert len(files(folder)) == 3
    assert [plan_cache.get_or_make(lambda: "new", f"{index}") for index in (5, 4, 3)] == [5, 4, 3]


def test_plans_that_are_used_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "PLANS_MAX", 3)
    for index in range(8):
        plan_cache.get_or_make(lambda index=index: index, f"{index}")
        assert plan_cache.get_or_make(lambda: "made again", "0") == 0
        time.sleep(0.01)


def test_plans_do_not_fill_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_cache, "PLANS_MAX_BYTES", 5000)
    for index in range(8):
        plan_cache.get_or_make(lambda: b"0" * 2000, f"{index}")
    assert len(files(folder)) == 2


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path / "file"))
    network = known(5, 9, 12)
    both(network, random_codes(network, 0, 2, 9))


def test_a_second_process_plans_nothing_and_needs_no_writer(tmp_path: Path) -> None:
    write(known(5, 9, 12), tmp_path / "model.nir")
    environment = os.environ | {machine.VARIABLE: str(tmp_path / "cache")}

    def lines() -> list[str]:
        command = [sys.executable, "-c", RUN, str(tmp_path / "model.nir")]
        return subprocess.run(command, env=environment, check=True, stdout=-1, text=True, timeout=300).stdout.split()

    first, second = lines(), lines()
    assert sorted(first[1:]) == ["nmdeploy.engine.llvm.code", "nmdeploy.engine.llvm.compilation"]
    assert second == first[:1]
    for path in (tmp_path / "cache").glob("*.o"):  # the plan's texts are compiled again
        path.unlink()
    assert lines()[0] == first[0]


def test_a_file_that_was_read_is_known(tmp_path: Path, folder: Path, count: list[str]) -> None:
    write(known(5, 9, 12), tmp_path / "model.nir")
    for _ in range(2):
        plan_cache.program(read(tmp_path / "model.nir"), "none")  # type: ignore[arg-type]
    assert len(count) == 1
