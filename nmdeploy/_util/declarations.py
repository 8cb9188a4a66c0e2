"""Declarations that a class must make: refused when it is defined, not guessed when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import get_annotations

from nmdeploy.errors import BadOption


def require_declared(family: type, base: type, needed: Mapping[str, str]) -> None:
    """`BadOption` unless the class, or a class between it and `base`, gives every name a value, a property or a field.

    Parameters
    ----------
    family : class that is being defined
        Only one with a `kind` of its own is checked: the others are bases of families.
    needed : mapping of name to what may be declared, in words
    """
    if "kind" not in vars(family):
        return
    own = [each for each in family.__mro__ if each not in base.__mro__]
    known = {name for each in own for name in (*vars(each), *get_annotations(each))}
    for name, choices in needed.items():
        if name not in known:
            raise BadOption(
                f"family {vars(family)['kind']!r} ({family.__module__}.{family.__qualname__}) does not declare "
                f"{name!r}: give the class {name} = {choices}"
            )
