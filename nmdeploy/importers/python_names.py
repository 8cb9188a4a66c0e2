"""Objects by name, ``package.module:attribute``, and the state dict of a named torch module.

The current directory is importable, as for ``python -m``. An attribute that is a function or class is called without
arguments. A state dict is read with ``weights_only=True``: nothing in it is executed.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from nmdeploy._util.foreign import attribute, is_instance
from nmdeploy.errors import BadFile, BadOption

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
PREFIXES = ("module.", "_orig_mod.")


def is_name(source: object) -> bool:
    """Return True for the name of an object; a file of that name is a file.

    >>> is_name("nets:make_net"), is_name("net.nir"), is_name("C:/net.nir")
    (True, False, False)
    """
    return isinstance(source, str) and NAME.fullmatch(source) is not None and not Path(source).exists()


def named_object(name: str, weights: str | None = None) -> Any:
    """Return the object of a name, with the weights of a file if one is given.

    Raises
    ------
    BadOption
        There is no such module or attribute, or it failed.
    BadFile
        The weights cannot be read, or are of another module.
    """
    module_name, _, path = name.partition(":")
    found = _attribute(name, _imported(name, module_name), path)
    if not is_instance(found, "torch.nn", "Module") and callable(found):
        try:
            found = found()
        except Exception as error:  # the user's own code may raise anything
            raise BadOption(f"{name}: calling it failed ({type(error).__name__}: {error}): correct it") from error
    if weights is not None:
        _load_weights(name, found, weights)
    return found


def _imported(name: str, module_name: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        return importlib.import_module(module_name)
    except Exception as error:  # the user's own code may raise anything
        raise BadOption(
            f"{name}: module {module_name!r} cannot be imported ({type(error).__name__}: {error}): run the command in "
            "the folder that holds it, or install it"
        ) from error
    finally:
        if added:
            sys.path.remove(here)


def _attribute(name: str, module: Any, path: str) -> Any:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise BadOption(f"{name}: module {module.__name__!r} has no attribute {path!r}: check the name") from None


def _load_weights(name: str, module: Any, path: str) -> None:
    if not is_instance(module, "torch.nn", "Module"):
        raise BadOption(f"--weights {path}: {name} is no torch module: leave --weights out")
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadFile(f"{path}: there is no such file: check the path") from None
    except Exception as error:  # torch raises many kinds
        raise BadFile(
            f"{path}: is no state dict ({type(error).__name__}): save it with torch.save(net.state_dict(), ...)"
        ) from None
    wanted = set(module.state_dict())
    given = _best(held, wanted)
    missing, unknown = sorted(wanted - set(given)), sorted(set(given) - wanted)
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"holds {unknown[0]!r}, which the module has not"
        raise BadFile(f"{path}: is of another module than {name}: it {what}: give the weights of this module")
    try:
        module.load_state_dict(given)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:40])
        raise BadFile(f"{path}: is of another module than {name}: {reason}: give the weights of this module") from None


def _best(held: Any, wanted: set[str]) -> dict[str, Any]:
    """Return the state dict that shares most names with the module: the file's, or one level below."""
    found = [held, *held.values()] if isinstance(held, Mapping) else []
    dicts = [made for each in found if isinstance(each, Mapping) and _holds_tensors(each) for made in _bare(each)]
    return max(dicts, key=lambda each: len(wanted & set(each)), default={})


def _holds_tensors(values: Mapping[Any, Any]) -> bool:
    return bool(values) and all(attribute(value, "is_floating_point") is not None for value in values.values())


def _bare(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the values as they are, and with ever fewer of the prefixes that data parallel and compiled modules add."""
    keys = list(values)
    yield dict(values)
    while any(all(key.startswith(prefix) for key in keys) for prefix in PREFIXES):
        keys = [key[len(next(prefix for prefix in PREFIXES if key.startswith(prefix))) :] for key in keys]
        yield dict(zip(keys, values.values(), strict=True))
