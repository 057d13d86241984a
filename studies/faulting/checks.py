"""What must be true of a run after faults: compared with one that nothing disturbed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from pushcut.learning.checkpoint import SHARDS
from pushcut.runs.jsonl import read_lines
from pushcut.runs.recoveries import METRICS


@dataclass
class Damage:
    """What faults did to a run; nothing, if all is well."""

    lost: int = 0
    """Episodes of training or evaluation that the undisturbed run has and this one has not."""
    duplicated: int = 0
    """Episodes that this run has more often."""
    checkpoints: int = 0
    """Checkpoints that are missing, unreadable or different, and what is left of half ones."""
    metrics: int = 0
    """Iterations whose numbers differ, times left out."""
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: Damage) -> Damage:
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.checkpoints += other.checkpoints
        self.metrics += other.metrics
        self.notes += other.notes
        return self


def damage(run: Path, undisturbed: Path) -> Damage:
    """Compares two finished runs of the same command."""
    found = Damage()
    for of in (training_episodes, evaluation_episodes):
        want, got = of(undisturbed), of(run)
        lost, more = want - got, got - want
        found.lost += lost.total()
        found.duplicated += more.total()
        found.notes += [f"lost {each}" for each in list(lost)[:3]]
        found.notes += [f"one too many {each}" for each in list(more)[:3]]
    compare_metrics(run, undisturbed, found)
    compare_checkpoints(run / "checkpoints", undisturbed / "checkpoints", found)
    return found


def training_episodes(run: Path) -> Counter[tuple[Any, ...]]:
    """Every episode that an iteration was trained on, with how it ended."""
    return Counter(
        (line["iteration"], *episode)
        for line in read_lines(run / "episodes.jsonl")
        for episode in line["episodes"]
    )


def evaluation_episodes(run: Path) -> Counter[tuple[Any, ...]]:
    """Every line of every ledger of evaluations."""
    return Counter(
        (path.name, line)
        for path in (run / "eval").glob("*.ledger.jsonl")
        for line in path.read_text().splitlines()
    )


def compare_metrics(run: Path, undisturbed: Path, found: Damage) -> None:
    """Lines in the same order with the same numbers, but for times and recoveries."""
    want, got = (
        [without_times(line) for line in read_lines(path / "metrics.jsonl")]
        for path in (undisturbed, run)
    )
    different = [i for i, (a, b) in enumerate(zip(want, got, strict=False)) if a != b]
    found.metrics += len(different) + abs(len(want) - len(got))
    found.notes += [f"metrics differ in line {line}" for line in different[:3]]


def without_times(line: dict[str, Any]) -> dict[str, Any]:
    # "ranks" holds the times of each.
    return {k: v for k, v in line.items() if "seconds" not in k and k not in (*METRICS, "ranks")}


def compare_checkpoints(run: Path, undisturbed: Path, found: Damage) -> None:
    """The same names, and in each the same weights, optimiser and progress."""
    want, got = (sorted(path.name for path in folder.iterdir()) for folder in (undisturbed, run))
    missing, surplus = set(want) - set(got), set(got) - set(want)
    found.checkpoints += len(missing) + len(surplus)
    found.notes += [f"no checkpoint {name}" for name in sorted(missing)]
    found.notes += [f"left behind: {name}" for name in sorted(surplus)]
    for name in sorted(set(want) & set(got)):
        problem = difference(run / name, undisturbed / name)
        if problem:
            found.checkpoints += 1
            found.notes.append(f"checkpoint {name}: {problem}")


def difference(checkpoint: Path, other: Path) -> str:
    """How a checkpoint differs from another, if it does."""
    try:
        mine, theirs = contents(checkpoint), contents(other)
    # A damaged file may raise anything.
    except Exception as error:
        return f"cannot be read: {error}"
    if mine.keys() != theirs.keys():
        return f"other content: {sorted(mine.keys() ^ theirs.keys())[0]}"
    return next((f"{name} differs" for name in mine if not same(mine[name], theirs[name])), "")


def contents(checkpoint: Path) -> dict[str, Any]:
    """Everything in a checkpoint."""
    found: dict[str, Any] = {"progress": json.loads((checkpoint / "progress.json").read_text())}
    for path in sorted(checkpoint.rglob("*.safetensors")):
        name = str(path.relative_to(checkpoint))
        found |= {f"{name} {key}": tensor for key, tensor in load_file(path).items()}
    if (checkpoint / SHARDS).exists():
        return found  # with the state of the optimiser
    state = torch.load(checkpoint / "optimizer.pt", map_location="cpu", weights_only=True)
    for number, values in state["state"].items():
        found |= {f"optimizer {number} {key}": value for key, value in values.items()}
    return found


def same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
