"""What a file holds, in a few lines: models, checkpoints, foreign NIR graphs, recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nmdeploy.errors import BadFile


def describe_file(path: str) -> dict[str, Any]:
    """A flat description of a file, by its suffix; `BadFile` for anything else."""
    source = Path(path)
    if not source.exists():
        raise BadFile(f"{path}: there is no such file: check the path")
    if source.is_dir():
        raise BadFile(f"{path}: is a folder: give a .nir, .safetensors, .pt or .h5 file")
    describe = DESCRIBE.get(source.suffix)
    if describe is None:
        raise BadFile(f"{path}: files of type {source.suffix!r} are unknown: give one of {', '.join(DESCRIBE)}")
    return {"file": path} | describe(source)


def _model(path: Path) -> dict[str, Any]:
    from nmdeploy.nir_io import describe

    return describe(path)


def _checkpoint(path: Path) -> dict[str, Any]:
    from nmdeploy.importers.checkpoint import load

    network = load(path)
    nodes = {
        name: f"{node.kind} {'x'.join(map(str, getattr(node, 'shape', None) or (getattr(node, 'size', 0),)))}"
        for name, node in network.nodes.items()
    }
    return {"format": "checkpoint", "dt": network.dt, "readout": network.readout, "nodes": nodes}


def _recording(path: Path) -> dict[str, Any]:
    from nmdeploy.recording_io import read_recording

    recording = read_recording(path)
    kept = {"samples": recording.samples, "steps": recording.steps, "layers": list(recording.layers)}
    names = ("backend", "version", "latency", "seed", "model_sha256")
    return {"format": "recording"} | kept | {name: getattr(recording, name) for name in names}


DESCRIBE = {".nir": _model, ".safetensors": _checkpoint, ".pt": _checkpoint, ".h5": _recording}


def render(described: dict[str, Any]) -> str:
    """Lines for the terminal."""
    lines = []
    for key, value in described.items():
        if isinstance(value, dict):
            lines.append(f"{key}:")
            lines += [f"  {name}: {text}" for name, text in value.items()]
        else:
            lines.append(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "\n".join(lines)
