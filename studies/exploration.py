"""SimpleVLA-RL's Figure 3 in short: GRPO with each exploration switch turned off.

    python studies/exploration.py [--policy runs/quickstart/sft/policy] [--iterations 15]

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

from pushcut.config import TrainConfig
from pushcut.presets import PRESETS
from pushcut.runs.run import provenance
from trials import evaluated, fine_tuned, short_run


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--episodes-per-task", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-exploration"))
    arguments = parser.parse_args()
    preset = PRESETS["quickstart"]
    policy = arguments.policy or fine_tuned(preset, arguments.out)
    base = replace(preset.train, iterations=arguments.iterations)
    evaluation = replace(preset.eval, episodes_per_task=arguments.episodes_per_task)
    results = {}
    for name, config in variants(base).items():
        variant = replace(preset, train=config, eval=evaluation)
        out = arguments.out / name.replace(" ", "-")
        lines = short_run(variant, policy, out)
        results[name] = {
            **evaluated(variant, out, "greedy"),
            "groups_sampled": sum(line["groups_sampled"] for line in lines),
            "groups_mixed": sum(line["groups_mixed"] for line in lines),
            "entropy_last": lines[-1]["entropy"],
            "clip_fraction": fmean(line["clip_fraction"] or 0.0 for line in lines),
            "seconds": sum(line["seconds_rollout"] + line["seconds_update"] for line in lines),
        }
    print(json.dumps({"iterations": arguments.iterations, "variants": results, **provenance()}))


if __name__ == "__main__":
    main()
