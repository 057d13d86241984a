"""`pushcut data-scarcity`: RL after one demonstration of each task and after all of them.

SimpleVLA-RL, Table 4 (One-Trajectory SFT and Full-Trajectory SFT).

Two policies of the same shape, one fitted to few demonstrations of each task and one to all, are
evaluated before and after the same RL: one table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pushcut.commands.protocol import (
    Protocol,
    ProtocolConfig,
    Study,
    check_more,
    counts_in,
    gain_in,
    longer,
    overlap_in,
    parts_of,
)  # fmt: skip
from pushcut.config import SFTConfig
from pushcut.evaluation.tables import markdown_line
from pushcut.learning.sft import FitConfig
from pushcut.presets import Preset


@dataclass(frozen=True)
class DataScarcityConfig(ProtocolConfig):
    """Few against all demonstrations, before and after RL; ``sft.fit`` is for all of them."""

    few: int = 1
    """Demonstrations of each task in the scarce column (1: One-Trajectory SFT)."""
    few_fit: FitConfig = FitConfig()
    """How the policy is fitted to the few."""
    out: Path = Path("runs/data-scarcity")
    """Folder of the whole protocol."""

    def __post_init__(self) -> None:
        check_more(self, self.few)

    @staticmethod
    def of(preset: Preset) -> DataScarcityConfig:
        """The protocol with the settings of a preset."""
        parts, fit = parts_of(preset), preset.sft.fit
        parts["sft"] = replace(parts["sft"], fit=longer(fit))
        return DataScarcityConfig(**parts, few_fit=fit)


def play(protocol: Protocol, config: DataScarcityConfig) -> dict[str, Any]:
    """Both columns."""
    everything, used = protocol.all_of_suite()
    few = replace(everything, fit=config.few_fit, episodes_per_task=config.few)
    columns = {
        "few": column(protocol, "few", few, len(used.take(config.few).episodes)),
        "all": column(protocol, "all", everything, len(used.episodes)),
    }
    return {"columns": columns}


def column(protocol: Protocol, name: str, sft: SFTConfig, demonstrations: int) -> dict[str, Any]:
    """The policy after some demonstrations, before and after RL."""
    title = f"SFT on {name} demonstrations ({demonstrations})"
    before = protocol.fine_tune(f"{name}/sft", title, sft)
    where = f" after {name} demonstrations"
    return {"demonstrations": demonstrations} | protocol.before_and_after(name, before, where)


def lines_of(result: Mapping[str, Any]) -> Iterator[str]:
    """The table in Markdown: SFT and SFT + RL over few and all demonstrations, then by task."""
    columns = result["columns"]
    rows = {"SFT": "sft", f"SFT + RL ({result['algorithm']})": "sft_rl"}
    yield f"Success ({result['mode']} actions, 95 % intervals) after SFT on"
    yield ""
    heads = [f"{name}: {column['demonstrations']}" for name, column in columns.items()]
    yield markdown_line(["demonstrations", *heads])
    yield markdown_line(["---", *["---:"] * len(columns)])
    for title, key in rows.items():
        yield markdown_line([title, *(counts_in(column[key]) for column in columns.values())])
    yield markdown_line(["gain", *(gain_in(column["gain"]) for column in columns.values())])
    if overlap := overlap_in(result):
        yield from ("", f"{overlap}.")
    yield ""
    kinds = [(name, key) for name in columns for key in rows.values()]
    heads = [f"{name}, {key.replace('_', ' + ').upper()}" for name, key in kinds]
    yield markdown_line(["task", *heads])
    yield markdown_line(["---", *["---:"] * len(kinds)])
    for task in columns["few"]["sft"]["per_task"]:
        counts = (columns[name][key]["per_task"][task] for name, key in kinds)
        yield markdown_line([task, *(f"{x['successes']}/{x['episodes']}" for x in counts)])


STUDY = Study("data scarcity (SimpleVLA-RL, Table 4)", DataScarcityConfig, play, lines_of)
