"""Compiled code is kept on disk: once for all processes, never trusted where it is damaged, never required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from equal_runs import both, random_codes
from networks_wired import chain
from processes import files
from shared import HELPERS, ROOT

from nmdeploy.engine.llvm import machine
from nmdeploy.engine.llvm.compilation import compile_network, driver_text
from nmdeploy.network.graph import Edge, Input
from nmdeploy.network.network import QuantizedNetwork
from nmdeploy.neurons.lif import QuantizedLIF
from nmdeploy.nir_io import model_sha256
from nmdeploy.synapses.dense import QuantizedDense

RUN = """
import sys
import numpy as np
from equal_runs import both, random_codes
from networks_wired import chain
from nmdeploy.engine.llvm import machine

count = 0
real = machine.optimize
def counted(text):
    global count
    count += 1
    return real(text)
machine.optimize = counted
network = chain(1, 5, 9, 12)
both(network, random_codes(network, 0, 2, 9))
print(count)
"""


def process(cache: Path | str, **more: str) -> int:
    """Modules that a process compiles for a network whose values equal the reference's."""
    environment = os.environ | {"PYTHONPATH": f"{HELPERS}{os.pathsep}{ROOT}", "PYTHONWARNINGS": "error"}
    environment |= {machine.VARIABLE: str(cache), **more}
    environment = {name: value for name, value in environment.items() if value}
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return int(done.stdout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that does not exist yet."""
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path / "a" / "cache"))
    return tmp_path / "a" / "cache"


def refused(text: str) -> Any:
    raise AssertionError("compiled again")


def objects(folder: Path) -> dict[str, bytes]:
    """Files of compiled code."""
    return {name: content for name, content in files(folder).items() if name.endswith(".o")}


def times(folder: Path) -> dict[str, int]:
    """When each file of compiled code was written; a plan's time says when it was used."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.o")}


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = process(cache)
    kept, written = files(cache), times(cache)
    assert first == len(objects(cache)) > 0 and all(path.name[0] != "." for path in cache.rglob("*"))
    assert process(cache) == 0
    assert files(cache) == kept and times(cache) == written


def test_damaged_code_is_compiled_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = process(cache)
    kept = objects(cache)
    damaged = sorted(kept)
    (cache / damaged[0]).write_bytes(b"")
    (cache / damaged[1]).write_bytes(kept[damaged[1]][:-1])
    whole = bytearray(kept[damaged[2]])
    whole[len(whole) // 2] ^= 1
    (cache / damaged[2]).write_bytes(whole)
    (cache / damaged[3]).unlink()
    assert process(cache) == 4 < first
    assert objects(cache) == kept


@pytest.mark.parametrize("change", ["empty", "short", "flipped", "swapped", "garbage"])
def test_damage_of_every_kind_is_seen(folder: Path, change: str) -> None:
    code = machine.compile_module(driver_text())
    (path,) = folder.iterdir()
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "short": content[:20],
            "flipped": content[:40] + bytes([content[40] ^ 255]) + content[41:],
            "swapped": content[32:] + content[:32],
            "garbage": bytes(range(256)) * 8,
        }[change]
    )
    assert machine.compile_module(driver_text()) == code
    assert path.read_bytes() == content


def test_what_is_at_hand_is_not_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = compile_network(chain(1, 3, 4), "none").texts
    assert not any(machine.is_compiled(text) for text in texts)
    codes = [machine.compile_module(text) for text in texts]
    assert all(machine.is_compiled(text) for text in texts) and len(files(folder)) == len(texts)
    monkeypatch.setattr(machine, "optimize", refused)
    assert [machine.compile_module(text) for text in texts] == codes


def test_equal_networks_share_code() -> None:
    assert compile_network(chain(1, 5, 9, 12), "none").texts == compile_network(chain(1, 5, 9, 12), "none").texts


def test_another_version_does_not_take_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.compile_module(driver_text())
    monkeypatch.setattr(machine, "__version__", "0.0.0")
    assert not machine.is_compiled(driver_text())


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("in the way")
    assert process(taken / "cache") > 0
    assert taken.read_text() == "in the way"
    assert process("/proc/nmdeploy") > 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o500)
    assert process(cache) > 0 and not files(cache)
    cache.chmod(0o700)


def test_a_folder_in_the_place_of_a_file_is_no_error(folder: Path) -> None:
    code = machine.compile_module(driver_text())
    (path,) = folder.iterdir()
    path.unlink()
    path.mkdir()
    assert machine.compile_module(driver_text()) == code
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_the_folder_is_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.VARIABLE, str(tmp_path / "named"))
    assert machine.cache_folder() == tmp_path / "named"
    monkeypatch.delenv(machine.VARIABLE)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert machine.cache_folder() == tmp_path / "xdg" / "nmdeploy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine.cache_folder() == tmp_path / ".cache" / "nmdeploy"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.cache_folder() == tmp_path / "Library" / "Caches" / "nmdeploy"


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers a user may have none."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (machine.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert machine.compile_module(driver_text()) and not machine.is_compiled(driver_text())
    network = chain(1, 5, 9, 12)
    model_sha256(network)
    both(network, random_codes(network, 0, 2, 9))


def test_without_a_choice_it_is_the_users_cache(tmp_path: Path) -> None:
    assert process("", XDG_CACHE_HOME=str(tmp_path)) == len(objects(tmp_path / "nmdeploy")) > 0


def test_processes_at_the_same_time(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": f"{HELPERS}{os.pathsep}{ROOT}", machine.VARIABLE: str(tmp_path)}
    started = [subprocess.Popen([sys.executable, "-c", RUN], env=environment, stdout=-1) for _ in range(3)]
    assert [one.wait(300) for one in started] == [0, 0, 0]
    for one in started:
        one.communicate()
    assert all(path.name[0] != "." for path in tmp_path.rglob("*"))
    assert process(tmp_path) == 0


def test_code_depends_on_the_type_of_inputs_alone(folder: Path) -> None:
    """A run with another type of codes compiles the kernel that reads them, and nothing else."""
    from nmdeploy.engine.llvm.compilation import input_text

    texts = {input_text(np.dtype(kind), binary) for kind in ("i1", "u1", "i8") for binary in (True, False)}
    assert 4 <= len(texts) <= 6


STOPPED = """
import signal
import sys

from nmdeploy.engine.llvm import machine

TEXT = "define i32 @f() { ret i32 0 }"


class Stopped(Exception):
    pass


def stop(number, frame):
    raise Stopped


def run(line):
    def traced(frame, event, _):
        nonlocal line
        if frame.f_code.co_name == "__init__" and "llvmlite" in frame.f_code.co_filename:
            line -= event == "line"
            if event == "line" and line == 0:
                signal.raise_signal(signal.SIGINT)
            return traced

    machine._linked.clear()
    for kept in vars(machine).values():
        getattr(kept, "cache_clear", int)()
    sys.settrace(traced)
    try:
        machine.has("avx2")
        machine.functions(TEXT, ["f"])
        machine.assembly(TEXT)
    except Stopped:
        return -1
    finally:
        sys.settrace(None)
    return line


dropped = []
sys.unraisablehook = lambda seen: dropped.append(repr(seen.exc_value))
signal.signal(signal.SIGINT, stop)
run(0)
lines = -run(0)
assert lines > 50, lines
assert all(run(line) == -1 for line in range(1, lines + 1))
print(*set(dropped))
"""


def test_a_signal_leaves_no_object_of_llvm_half_made(tmp_path: Path) -> None:
    """At every line of the __init__ of llvmlite's objects: what is raised there would make their __del__ complain."""
    environment = os.environ | {machine.VARIABLE: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", STOPPED], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("uniform", [True, False])
def test_layers_of_one_shape_share_their_code(uniform: bool) -> None:
    """Parameters are in memory, unless they simplify an operation: only 0 and powers of two do."""
    rng, size, layers = np.random.default_rng(0), 40, 32
    nodes: dict[str, Any] = {"input": Input((size,))}
    edges, before = [], "input"
    for layer in range(layers):
        # No power of two, and no value twice: equal parameters are held once.
        lows, count = (300, 400, 500), 1 if uniform else size
        odd = [3 * rng.integers(low, low + 40, count) * np.ones(size, np.int64) for low in lows]
        zero = np.zeros(size, np.int64)
        rest = {"bias_exp": zero, "bias_mant": zero, "refractory_steps": 0}
        nodes[f"s{layer}"] = QuantizedDense(rng.integers(-8, 8, (size, size)) * 15, 8, 0, "mixed", 2)
        nodes[f"n{layer}"] = QuantizedLIF(du=odd[0], dv=odd[1], vth=odd[2], **rest)
        edges += [Edge(before, f"s{layer}"), Edge(f"s{layer}", f"n{layer}")]
        before = f"n{layer}"
    program = compile_network(QuantizedNetwork(nodes, tuple(edges), 1e-3, before))
    # The first layer's input is smaller, and the last layer's output is recorded.
    assert len({made.text for made in list(program.populations.values())[1:-1]}) == 1
    assert len({made.text for made in list(program.synapses.values())[1:]}) == 1
