"""The model of scaling_model.py against real iterations on this machine.

Costs are measured in iterations with one simulator process. With them, and the episodes that were
played, the model predicts the same iterations with two processes and twice as many slots; the
episodes are equal by design, so nothing of the second run goes into its prediction.

    python benchmarks/scaling_validation.py [--preset smoke] [--policy FOLDER] [--iterations 4]

Without --policy one is fine-tuned as the preset says. The last line is one JSON object.
"""

# ruff: noqa: E402 - what must be set before torch loads
from __future__ import annotations

from pushcut.cli import prepare_process

prepare_process()

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from pushcut.batch import Rollout
from pushcut.config import TrainConfig
from pushcut.envs.pool.pool import EnvPool
from pushcut.learning.learner import Learner
from pushcut.presets import PRESETS
from pushcut.rollout.collector import Collector
from pushcut.rollout.episode_runner import EpisodeRunner
from pushcut.runs.run import provenance
from pushcut.runs.timings import added
from pushcut.system.stopwatch import Seconds
from scaling_costs import Case, Cluster, Costs, Workload
from scaling_sim import simulate
from trials import fine_tuned


@dataclass(frozen=True)
class Played:
    """A real iteration."""

    seconds: Seconds
    passes: int
    """Forward passes of the rollout."""
    kept: int
    """Decisions that were learned from."""
    episodes: dict[int, list[tuple[bool, int]]]
    """Group -> (success, decisions) of each member."""

    @property
    def decisions(self) -> int:
        return sum(length for group in self.episodes.values() for _, length in group)

    @property
    def looks(self) -> int:
        """One before each decision, but members of a group share the first."""
        members = sum(len(group) for group in self.episodes.values())
        return self.decisions - members + len(self.episodes)


@dataclass(frozen=True)
class Recorded(Workload):
    """Episodes that were really played."""

    iterations: tuple[Played, ...] = ()
    accepted: Callable[[int], bool] = bool

    def episodes(self, iteration: int, group: int) -> list[tuple[bool, int]]:
        return self.iterations[iteration].episodes[group]

    def accepts(self, successes: int) -> bool:
        return self.accepted(successes)


def play(config: TrainConfig, iterations: int, *, workers: int, slots: int) -> Iterator[Played]:
    """Trains for some iterations, after one that builds the simulators."""
    algorithm = config.algorithm
    policy = config.policy.load(seed=config.seed)
    learner = Learner(policy, algorithm, config.learner, seed=config.seed)
    sample, passes = policy.sample, 0

    def counted(*arguments: Any) -> Any:
        nonlocal passes
        passes += 1
        return sample(*arguments)

    policy.sample = counted  # type: ignore[method-assign]
    with EnvPool(config.env, slots=slots, workers=workers) as pool:
        player = EpisodeRunner(
            pool, seed=config.seed, inference_batch=config.rollout.inference_batch
        )
        collector = Collector(
            player,
            tasks=list(config.tasks or pool.spec.tasks),
            seed=config.seed,
            group_size=algorithm.group_size,
            groups=algorithm.groups,
            max_groups=algorithm.max_groups,
            accepts=algorithm.accepts,
        )
        for iteration in range(iterations + 1):
            passes, start = 0, time.perf_counter()
            rollout = collector.collect(policy, iteration)
            middle = time.perf_counter()
            batch = algorithm.select(rollout)
            learner.update(batch, algorithm.advantages(batch), iteration)
            seconds = collector.seconds | {
                "rollout": middle - start,
                "update": time.perf_counter() - middle,
            }
            if iteration:
                yield Played(seconds, passes, len(batch), episodes_of(rollout))


def episodes_of(rollout: Rollout) -> dict[int, list[tuple[bool, int]]]:
    """Group -> its members, in order."""
    lengths = torch.bincount(rollout.episode_id, minlength=rollout.episodes).tolist()
    groups: dict[int, list[tuple[bool, int]]] = {}
    for group, won, length in zip(
        rollout.group_id.tolist(), rollout.success.tolist(), lengths, strict=True
    ):
        groups.setdefault(group, []).append((won, length))
    return groups


def costs_of(played: list[Played]) -> Costs:
    """Costs per decision, forward pass and decision learned from; resets are shared out."""
    total = added(each.seconds for each in played)
    decisions = sum(each.decisions for each in played)
    passes, kept = sum(each.passes for each in played), sum(each.kept for each in played)
    return replace(
        Costs(),
        simulate=total["simulate"] / decisions,
        render=total["render"] / sum(each.looks for each in played),
        reset=0.0,
        start=0.0,
        prepare=0.0,
        overhead=(total["rollout"] - total["infer"] - total["wait"]) / decisions,
        infer_row=0.0,
        infer_launch=total["infer"] / passes,
        train_row=total["update"] / max(1, kept),
        micro_batch=1,
        optimizer_step=0.0,
        checkpoint_gb=0.0,
    )


def predict(
    config: TrainConfig, played: list[Played], *, workers: int, slots: int
) -> list[Seconds]:
    """What the model says of the same iterations with other workers and slots."""
    algorithm = config.algorithm
    workload = Recorded(
        groups=algorithm.groups,
        group_size=algorithm.group_size,
        max_groups=algorithm.max_groups,
        optimizer_steps=1,
        iterations=tuple(played),
        accepted=algorithm.accepts,
    )
    cluster = Cluster(
        gpus=1,
        workers=workers,
        slots=slots,
        inference_batch=config.rollout.inference_batch,
        cores=os.cpu_count() or 1,
    )
    case = Case(cluster, costs_of(played), workload)
    return [simulate(case, iteration).seconds for iteration in range(len(played))]


def compare(config: TrainConfig, iterations: int) -> dict[str, Any]:
    """One process and two, each as measured and as the model has it.

    They play in turns, so that a busy moment of the machine falls on both.
    """
    runs = [play(config, iterations, workers=count, slots=8 * count) for count in (1, 2)]
    one, two = map(list, zip(*zip(*runs, strict=True), strict=True))
    assert [each.episodes for each in one] == [each.episodes for each in two]
    result: dict[str, Any] = {}
    for name, real, workers in (("one_process", one, 1), ("two_processes", two, 2)):
        model = predict(config, one, workers=workers, slots=8 * workers)
        lines = {"measured": [each.seconds for each in real], "predicted": model}
        table = {
            side: {
                phase: round(fmean(line[phase] for line in found), 3)
                for phase in ("rollout", "infer", "wait", "simulate", "render", "update")
            }
            for side, found in lines.items()
        }
        # The update is taken over from the costs: the rollout is what is predicted.
        rollout = {side: line["rollout"] for side, line in table.items()}
        total = {side: line["rollout"] + line["update"] for side, line in table.items()}
        differences = {
            what: round(found["predicted"] / found["measured"] - 1, 3)
            for what, found in (("rollout", rollout), ("iteration", total))
        }
        result[name] = {**table, "differences": differences}
        print(
            f"{name}: rollout {rollout['measured']:.2f} s measured, {rollout['predicted']:.2f} s "
            f"predicted ({differences['rollout']:+.0%}); iteration {total['measured']:.2f} and "
            f"{total['predicted']:.2f} s ({differences['iteration']:+.0%})"
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="The scaling model against real iterations.")
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--policy", type=Path, help="a fine-tuned policy of the preset")
    parser.add_argument("--iterations", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the other core is the simulator's
    preset = PRESETS[options.preset]
    with tempfile.TemporaryDirectory() as folder:
        policy = options.policy or fine_tuned(preset, Path(folder))
        source = replace(preset.train.policy, path=policy)
        result = compare(replace(preset.train, policy=source), options.iterations)
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({"preset": options.preset, **result, "load": load, **provenance()}))


if __name__ == "__main__":
    main()
