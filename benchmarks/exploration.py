"""SimpleVLA-RL's Figure 3 in short: GRPO with each exploration switch turned off.

    python benchmarks/exploration.py [--policy runs/quickstart/sft/policy] [--iterations 15]

Without --policy the quickstart's demonstrations and fine-tuning come first. All runs start
from the same policy with the same seed and are evaluated on the same held-out states. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from pushcut.commands.collect import run_collect
from pushcut.commands.evaluate import run_eval
from pushcut.commands.sft import run_sft
from pushcut.config import TrainConfig
from pushcut.presets import PRESETS, Preset
from pushcut.run import provenance, read_metrics
from pushcut.trainer import train


def variants(config: TrainConfig) -> dict[str, TrainConfig]:
    """The paper's three switches, each off alone."""
    algorithm = config.algorithm
    return {
        "all on": config,
        "no dynamic sampling": replace(
            config, algorithm=replace(algorithm, dynamic_sampling=False)
        ),
        "no clip-higher": replace(config, algorithm=replace(algorithm, clip_high=0.2)),
        "temperature 1.0": replace(config, policy=replace(config.policy, temperature=1.0)),
    }


def fine_tuned(preset: Preset, out: Path) -> Path:
    """The policy that the quickstart starts RL from."""
    demonstrations = run_collect(replace(preset.collect, out=out / "demonstrations"))
    return run_sft(replace(preset.sft, dataset=demonstrations, out=out / "sft"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--episodes-per-task", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-exploration"))
    arguments = parser.parse_args()
    preset = PRESETS["quickstart"]
    policy = arguments.policy or fine_tuned(preset, arguments.out)
    source = replace(preset.train.policy, path=policy)
    base = replace(preset.train, policy=source, iterations=arguments.iterations)
    evaluation = replace(preset.eval, episodes_per_task=arguments.episodes_per_task)
    results = {}
    for name, config in variants(base).items():
        out = arguments.out / name.replace(" ", "-")
        run = train(replace(config, out=out))
        lines = read_metrics(out / "metrics.jsonl")
        evaluated = run_eval(
            replace(
                evaluation,
                policy=replace(config.policy, path=run.path),
                out=out / "eval" / "greedy.json",
            )
        )
        results[name] = {
            "successes": evaluated["successes"],
            "episodes": evaluated["episodes"],
            "interval": evaluated["interval"],
            "groups_sampled": sum(line["groups_sampled"] for line in lines),
            "groups_mixed": sum(line["groups_mixed"] for line in lines),
            "entropy_last": lines[-1]["entropy"],
            "clip_fraction": fmean(line["clip_fraction"] or 0.0 for line in lines),
            "seconds": sum(line["seconds_rollout"] + line["seconds_update"] for line in lines),
        }
    print(json.dumps({"iterations": arguments.iterations, "variants": results, **provenance()}))


if __name__ == "__main__":
    main()
