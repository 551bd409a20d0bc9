"""What a function closes over."""

from __future__ import annotations

import types


def filled_cells(function: object) -> list[types.CellType]:
    """Return the cells of a function's closure that hold something.

    A variable that is not assigned yet, such as a recursive function's own name, has an empty one.

    >>> def outer():
    ...     def inner():
    ...         return here, later
    ...     here = 1
    ...     return filled_cells(inner)
    ...     later = 2
    >>> [cell.cell_contents for cell in outer()]
    [1]
    """
    cells: tuple[types.CellType, ...] = getattr(function, "__closure__", None) or ()
    return [cell for cell in cells if is_filled(cell)]


def is_filled(cell: types.CellType) -> bool:
    """Tell whether a cell holds something."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
