"""A table of an environment's variants: a row each, means of columns and out of distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pushcut.evaluation.results import pair
from pushcut.evaluation.tables import (
    Cell,
    Row,
    average,
    cell_of,
    difference_text,
    markdown_line,
    success_text,
)

OUT_OF_DISTRIBUTION = "OOD"


@dataclass(frozen=True)
class VariationTable:
    """Success of one or two policies on each variant (pi_RL, tables 4 and 7).

    A column's mean is over its variants, and that of all that is out of distribution over the
    columns but the first, as in the paper.
    """

    columns: Mapping[str, Sequence[str]]
    """Column -> its variants; what was trained on is the first."""
    rows: Sequence[Row]
    """The policies; the second is compared with the first."""

    def cells(self, row: Row) -> dict[str, Cell]:
        """Variant, column or ``OUT_OF_DISTRIBUTION`` -> success."""
        cells: dict[str, Cell] = {}
        for column, variants in self.columns.items():
            lines = {name: [x for x in row.result.ledger if x.task == name] for name in variants}
            own = {name: cell_of(found, (name,)) for name, found in lines.items() if found}
            cells |= own
            if len(own) > 1:
                cells[column] = average(list(own.values()), "success")
            elif own:
                cells[column] = next(iter(own.values()))
        return self._with_mean(cells, "success")

    def differences(self) -> dict[str, Cell]:
        """Variant, column or ``OUT_OF_DISTRIBUTION`` -> difference of the second row, paired."""
        first, second = self.rows
        cells: dict[str, Cell] = {}
        for column, variants in self.columns.items():
            own = {}
            for name in variants:
                ours, theirs = (
                    [x for x in row.result.ledger if x.task == name] for row in (second, first)
                )
                if ours and theirs:
                    own[name] = pair(ours, theirs).to_json()
            cells |= own
            if own:
                found = list(own.values())
                cells[column] = average(found, "difference") if len(found) > 1 else found[0]
        return self._with_mean(cells, "difference")

    def _with_mean(self, cells: dict[str, Cell], value: str) -> dict[str, Cell]:
        outside = [cells[name] for name in list(self.columns)[1:] if name in cells]
        if len(outside) > 1:
            cells[OUT_OF_DISTRIBUTION] = average(outside, value)
        return cells

    def markdown(self) -> str:
        """The table in Markdown, with its notes."""
        found = [self.cells(row) for row in self.rows]
        texts = [{name: success_text(cell) for name, cell in cells.items()} for cells in found]
        names = [row.name for row in self.rows]
        if len(self.rows) == 2:
            texts.append({n: difference_text(cell) for n, cell in self.differences().items()})
            names.append("difference")
        lines = [
            markdown_line(["success in %", "", *names]),
            markdown_line(["---"] * (2 + len(names))),
        ]
        for column, variants in self.columns.items():
            for name in variants:
                lines.append(markdown_line([column, name, *(_of(text, name) for text in texts)]))
            if len(variants) > 1:
                means = [f"**{_of(text, column)}**" for text in texts]
                lines.append(markdown_line([f"**{column}**", "**mean**", *means]))
        if OUT_OF_DISTRIBUTION in found[0]:
            means = [f"**{_of(text, OUT_OF_DISTRIBUTION)}**" for text in texts]
            lines.append(markdown_line([f"**{OUT_OF_DISTRIBUTION}**", "**mean**", *means]))
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes())]) + "\n"

    def notes(self) -> list[str]:
        """What is needed to read the table."""
        outside = ", ".join(list(self.columns)[1:])
        notes = [f"Actions: {self.rows[0].result.mode}."]
        notes.append("[a, b]: 95 % intervals (Wilson); (successes/episodes).")
        notes.append("A column's mean is that of its rows.")
        if len(self.columns) > 2:
            notes.append(f"{OUT_OF_DISTRIBUTION}: the mean of {outside}.")
        if len(self.rows) == 2:
            notes.append(
                "difference: in points, of the same episodes, 95 % intervals by Newcombe's method "
                "10 (1998)."
            )
        return notes

    def to_json(self) -> dict[str, Any]:
        """All numbers of the table."""
        content: dict[str, Any] = {
            "columns": {name: list(variants) for name, variants in self.columns.items()},
            "rows": [{"name": row.name, "cells": self.cells(row)} for row in self.rows],
        }
        if len(self.rows) == 2:
            content["difference"] = self.differences()
        return content | {"notes": self.notes()}


def _of(texts: Mapping[str, str], name: str) -> str:
    return texts.get(name, "–")
