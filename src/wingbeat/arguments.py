"""Arguments from outside: real numbers as arrays, or a refusal that names them.

Every public estimator of the package takes its arguments through these functions first, so that a
list, a tensor that carries a gradient and an array of any real type mean the same everywhere, and
nothing else falls through to an error of NumPy's, or to a wrong number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from wingbeat.errors import RequestError, nearest
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Points = NDArray[Any] | torch.Tensor

_LONGEST: Final = 80
"""Characters of a value that a message quotes: an array's own words can fill a screen."""


def points_of(value: ArrayLike | torch.Tensor, name: str = "points") -> Points:
    """Return real numbers as an array or a tensor without gradient, in the precision they have.

    Nothing is copied where an array or tensor was given; `as_float64` widens it.

    Args:
        value: an array, a tensor on any device, or lists of numbers or tensors.
        name: what the message calls it.

    Raises:
        RequestError: no value, text, objects, lists of unequal lengths, masked entries, complex
            numbers, tensors that are sparse, quantised, nested or without memory.

    >>> points_of([[1, 2], [3, 4]]).shape
    (2, 2)
    >>> points_of([[1, 2], [3]])
    Traceback (most recent call last):
    wingbeat.errors.RequestError: points is [[1, 2], [3]]: give lists of equal lengths
    """
    if isinstance(value, torch.Tensor):
        return _tensor(value, name)
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    return _array(value, name)


def as_float64(points: ArrayLike | torch.Tensor, name: str = "points") -> Array:
    """Return an array, list or tensor of real numbers as a float64 array (bfloat16 too).

    Raises:
        RequestError: for anything else, as in `points_of`.

    >>> as_float64(torch.ones(2, dtype=torch.bfloat16))
    array([1., 1.])
    """
    found = points_of(points, name)
    array = _numpy_of(found, name) if isinstance(found, torch.Tensor) else found
    # A signalling NaN of a diverged replica warns when it is widened.
    with np.errstate(invalid="ignore", over="ignore"):
        return array.astype(np.float64, copy=False)


def real_number(
    value: object, name: str, advice: str = "give a finite number", *, finite: bool = True
) -> float:
    """Return one real number as a float.

    Args:
        value: a number, or an array or tensor of one.
        name: what the message calls it.
        advice: what the message says to give.
        finite: whether infinity and NaN are refused.

    Raises:
        RequestError: it is none.

    >>> real_number(np.float32(0.5), "level")
    0.5
    """
    number: float | None = None
    if isinstance(value, torch.Tensor):
        value = value.detach()
    if not isinstance(value, str | bytes | bool | np.bool_):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = None
    if number is None or (finite and not math.isfinite(number)):
        raise RequestError(f"{name} is {shown(value)}: {advice}")
    return number


def whole_number(
    value: object, name: str, least: int = 1, most: int | None = None, advice: str = ""
) -> int:
    """Return a whole number within bounds; ``advice`` replaces what the message says to give.

    Raises:
        RequestError: it is none, or outside.

    >>> whole_number(np.int64(3), "k")
    3
    """
    number: int | None = None
    if not isinstance(value, bool | np.bool_ | torch.Tensor):
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            number = None
    if number is None or number < least or (most is not None and number > most):
        above = "" if most is None else f" and at most {most}"
        advice = advice or f"use a whole number of at least {least}{above}"
        raise RequestError(f"{name} is {shown(value)}: {advice}")
    return number


def one_of(value: object, name: str, known: Sequence[str]) -> None:
    """Refuse a word that is not among those known.

    >>> one_of("bb", "mode", ("aa", "b"))
    Traceback (most recent call last):
    wingbeat.errors.RequestError: mode is 'bb': use one of ('aa', 'b'); did you mean 'b'?
    """
    if not isinstance(value, str):
        raise RequestError(f"{name} is {shown(value)}: use one of {tuple(known)}")
    if value not in known:
        raise RequestError(
            f"{name} is {shown(value)}: use one of {tuple(known)}; {nearest(value, known)}"
        )


def parts_of(value: object) -> Iterable[Any]:
    """Return the blocks of an iterable of arrays, or what was given as the only block.

    >>> len(list(parts_of([np.zeros((2, 3)), np.zeros((2, 1))]))), len(list(parts_of([[1.0, 2.0]])))
    (2, 1)
    """
    alone = hasattr(value, "__array__") or isinstance(value, str | bytes | Mapping)
    if alone or not isinstance(value, Iterable):
        return (value,)
    if isinstance(value, list | tuple) and not any(hasattr(x, "__array__") for x in value):
        return (value,) if value else ()
    return value


def shown(value: object) -> str:
    """Return how a message quotes a value: short, on one line.

    >>> shown("a"), shown(torch.zeros(3, 4))
    ("'a'", 'a Tensor of shape (3, 4)')
    """
    shape = getattr(value, "shape", None)
    if isinstance(value, np.ndarray | torch.Tensor) and shape:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    try:
        words = " ".join(repr(value).split())
    except Exception:  # a stranger's object may fail at its own description
        words = ""
    return words if 0 < len(words) <= _LONGEST else f"of type {type(value).__name__}"


def _tensor(value: torch.Tensor, name: str) -> torch.Tensor:
    """Return a tensor without its gradient, unless its numbers are not plain real ones."""
    if value.is_nested:
        raise RequestError(f"{name} is a nested tensor: pad it to one shape")
    if value.is_quantized:
        raise RequestError(f"{name} is a quantised tensor: give it as .dequantize()")
    if value.layout is not torch.strided:
        raise RequestError(f"{name} is a tensor of layout {value.layout}: give it as .to_dense()")
    if value.is_complex():
        raise RequestError(f"{name} have dtype {value.dtype}; give real numbers, such as .real")
    if value.device.type == "meta":
        raise RequestError(f"{name} is a tensor on the meta device: it holds no numbers")
    return value.detach()


def _array(value: Any, name: str) -> NDArray[Any]:
    """Return anything but a tensor as an array of real numbers."""
    if value is None or isinstance(value, str | bytes):
        raise RequestError(f"{name} is {shown(value)}: give an array, a tensor or lists of numbers")
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        raise RequestError(f"{name} is a {type(value).__name__}: give it as .toarray()")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise RequestError(f"{name} has masked entries: fill them or leave them out")
    if isinstance(value, list | tuple) and any(isinstance(x, torch.Tensor) for x in value):
        value = [_plain(x, name) for x in value]
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise RequestError(f"{name} is {shown(value)}: give lists of equal lengths") from error
    except (TypeError, RuntimeError, OverflowError, RecursionError) as error:
        raise RequestError(f"{name} is {shown(value)}: it is no array of numbers") from error
    if array.dtype.kind not in "fiub":
        raise RequestError(f"{name} have dtype {array.dtype}; give real numbers")
    return array


def _plain(value: Any, name: str) -> NDArray[Any]:
    found = points_of(value, name)
    return _numpy_of(found, name) if isinstance(found, torch.Tensor) else found


def _numpy_of(tensor: torch.Tensor, name: str) -> NDArray[Any]:
    """View a tensor as an array; types that numpy lacks are widened, which is exact.

    NumPy widens, because torch's threads and those of the matrix products hinder each other.
    """
    try:
        tensor = tensor.cpu()
        if tensor.dtype is torch.bfloat16:
            bits = tensor.view(torch.int16).numpy().view(np.uint16).astype(np.uint32)
            return (bits << np.uint32(16)).view(np.float32)
        if tensor.is_floating_point() and tensor.element_size() == 1:
            tensor = tensor.to(torch.float32)
        return np.asarray(tensor.resolve_neg().numpy())
    except (TypeError, RuntimeError) as error:
        words = str(error).splitlines()[0]
        raise RequestError(f"{name} is a tensor that cannot be read ({words})") from error
