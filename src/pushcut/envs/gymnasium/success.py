"""When an episode counts as solved: a rule over what a gymnasium step returns."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushcut.errors import UserError

_COMPARE = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_RULE = re.compile(
    r"\s*(?P<name>[^\s<>=?]+)(?P<maybe>\?)?"
    r"\s*(?:(?P<sign>[<>]=?|==)\s*(?P<to>\S+)\s*)?"
)


@dataclass(frozen=True)
class SuccessRule:
    """A name, and what its value is compared with."""

    name: str
    """``reward`` of the step, ``return`` so far, ``terminated``, or a key of ``info``; dots lead
    into dictionaries."""
    may_miss: bool
    """A step without that key counts as not solved; else it is an error."""
    sign: str
    """Empty: the value itself is the answer."""
    threshold: float

    @staticmethod
    def parse(text: str) -> SuccessRule:
        """Reads ``NAME``, ``NAME?``, ``NAME >= NUMBER``; ValueError for anything else."""
        found = _RULE.fullmatch(text)
        try:
            if found is None:
                raise ValueError
            threshold = float(found["to"] or 0)
        except ValueError:
            raise ValueError(
                "success is NAME, NAME? (where info may lack it) or NAME >= NUMBER "
                f"(also <=, >, <, ==), got {text!r}"
            ) from None
        return SuccessRule(found["name"], bool(found["maybe"]), found["sign"] or "", threshold)

    def holds(
        self, info: Mapping[str, Any], *, reward: float, total: float, terminated: bool
    ) -> bool:
        """Whether a step solved the task; UserError where ``info`` lacks the key."""
        known = {"reward": reward, "return": total, "terminated": terminated}
        value = known[self.name] if self.name in known else self._look_up(info)
        if value is None:
            return False
        number = float(np.asarray(value).item())
        return _COMPARE[self.sign](number, self.threshold) if self.sign else bool(number)

    def _look_up(self, info: Mapping[str, Any]) -> Any:
        value: Any = info
        for key in [self.name] if self.name in info else self.name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                if self.may_miss:
                    return None
                raise UserError(
                    f"success {self.name!r}: a step's info has only {sorted(map(str, info))}; "
                    "name one of these with --env.success, or reward, return, terminated; "
                    f"'{self.name}?' if it comes only at times"
                )
            value = value[key]
        return value
