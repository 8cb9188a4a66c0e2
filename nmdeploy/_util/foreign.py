"""Objects of packages that are not imported here: recognized by the name of their class."""

from __future__ import annotations


def is_instance(value: object, package: str, name: str) -> bool:
    """Return True if an object's class, or one that it derives from, has a name in a package.

    >>> from fractions import Fraction
    >>> is_instance(Fraction(1, 2), "numbers", "Rational"), is_instance(1.5, "numbers", "Rational")
    (True, False)
    """
    return any(
        base.__name__ == name and f"{base.__module__}.".startswith(f"{package}.") for base in type(value).__mro__
    )
