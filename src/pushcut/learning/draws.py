"""Random numbers of a batch that is computed in parts: each part has those of its own rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

SIZE_AT = {
    "random": 0, "standard_normal": 0, "standard_exponential": 0, "exponential": 1,
    "standard_gamma": 1, "poisson": 1, "normal": 2, "uniform": 2, "beta": 2, "integers": 2,
    "gamma": 2, "laplace": 2, "logistic": 2, "lognormal": 2, "binomial": 2,
}  # fmt: skip
"""Method of numpy's generator -> which of its arguments is the size."""


class RowsOf(np.random.Generator):
    """Draws for a whole batch and returns what belongs to some of its rows.

    A draw whose first dimension is the number of these rows is made for all rows; any other is
    the same for all parts. Parts that begin with the same state so see what one batch would see.
    """

    def __init__(self, state: Any, batch: int, rows: np.ndarray) -> None:
        """``state``: of the generator that the whole batch would be drawn from."""
        bits = np.random.PCG64()
        bits.state = state
        super().__init__(bits)
        self._batch, self._rows = batch, rows

    def draw(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What the method ``name`` returns for the rows."""
        method: Callable[..., Any] = getattr(super(), name)
        place = SIZE_AT[name]
        size = options.get("size", arguments[place] if place < len(arguments) else None)
        shape = () if size is None else tuple(np.atleast_1d(size))
        if not shape or shape[0] != len(self._rows):
            return method(*arguments, **options)
        whole = (self._batch, *shape[1:])
        if place < len(arguments):
            arguments = (*arguments[:place], whole, *arguments[place + 1 :])
        else:
            options = options | {"size": whole}
        return method(*arguments, **options)[self._rows]


def _for_rows(name: str) -> Callable[..., Any]:
    def draw(self: RowsOf, *arguments: Any, **options: Any) -> Any:
        return self.draw(name, arguments, options)

    return draw


for _name in SIZE_AT:
    setattr(RowsOf, _name, cast(Any, _for_rows(_name)))
