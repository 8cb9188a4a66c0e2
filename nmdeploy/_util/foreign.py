"""Objects of packages that are not imported here: recognized by the name of their class."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def is_instance(value: object, package: str, name: str) -> bool:
    """Return True if an object's class, or one that it derives from, has a name in a package.

    >>> from fractions import Fraction
    >>> is_instance(Fraction(1, 2), "numbers", "Rational"), is_instance(1.5, "numbers", "Rational")
    (True, False)
    """
    return any(
        base.__name__ == name and f"{base.__module__}.".startswith(f"{package}.") for base in type(value).__mro__
    )


def tensor_array(tensor: Any) -> npt.NDArray[Any]:
    """Return a torch tensor's values as an array: of any device and layout, with or without gradients.

    NumPy has no bfloat16: it becomes float32, which holds every value.
    """
    plain = tensor.detach().cpu()
    if str(plain.layout) != "torch.strided":
        plain = plain.to_dense()
    if str(plain.dtype) == "torch.bfloat16":
        plain = plain.float()
    return np.asarray(plain.resolve_conj().resolve_neg().contiguous().numpy())


def class_in(value: object, package: str) -> str | None:
    """Return the name of an object's first class that a package defines, None if there is none.

    >>> from fractions import Fraction
    >>> class_in(Fraction(1, 2), "numbers"), class_in(1.5, "numbers")
    ('Rational', None)
    """
    return next(
        (base.__name__ for base in type(value).__mro__ if f"{base.__module__}.".startswith(f"{package}.")), None
    )


def attribute(value: object, name: str, default: Any = None) -> Any:
    """Return an attribute that an object of another package may lack.

    >>> attribute("text", "no_such"), attribute(1j, "imag")
    (None, 1.0)
    """
    return getattr(value, name, default)
