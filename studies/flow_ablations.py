"""pi_RL's ablations in miniature: Table 2, Figures 6, 7 and 8, and PPO against GRPO (Table 9).

    python studies/flow_ablations.py [--iterations 12] [--seeds 0] [--only base "chunk 10"]

Every variant starts from the same fine-tuned policy (one for each length of chunk), plays the
same number of episodes per iteration and is evaluated on the same held-out states, with the
noise of training ("train") and without ("eval"). What is finished is kept in --out: run again to
go on. Draws --plot, and prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.ppo import PPO
from pushcut.policies.source import FlowPolicySource
from pushcut.presets import PRESETS, Preset
from pushcut.runs.run import provenance
from trials import evaluated, fine_tuned, short_run

FIGURES = {
    "Table 2: noise level": ("noise level 0.2", "base", "noise level 0.8"),
    "Table 2: denoising steps": ("1 step", "2 steps", "base", "8 steps"),
    "Table 2: action chunk": ("base", "chunk 10", "chunk 20"),
    "Figure 6: critic": ("base", "critic vlm, 1 layer", "critic expert", "critic expert, 1 layer"),
    "Figure 7: MDP": ("base", "two-layer", "one-layer"),
    "Figure 8: noise": ("one-layer", "learned noise"),
    "Table 9: algorithm": ("base", "GRPO"),
}
"""What is compared with what; ``base``: noise level 0.5, 4 steps, chunk 5, critic on the VLM with
4 layers, hybrid two-layer MDP, PPO."""


def variants(base: Preset) -> dict[str, Preset]:
    """Name -> the preset with one thing changed."""
    ppo = base.train.algorithm
    assert isinstance(ppo, PPO)
    grpo = GRPO(
        groups=ppo.episodes // 8,
        max_groups=ppo.episodes // 8,
        dynamic_sampling=False,
        granularity=ppo.granularity,
        clip_low=ppo.clip_low,
        clip_high=ppo.clip_high,
    )
    return {
        "base": base,
        "noise level 0.2": exploring(base, noise_level=0.2),
        "noise level 0.8": exploring(base, noise_level=0.8),
        "1 step": exploring(base, num_steps=1),
        "2 steps": exploring(base, num_steps=2),
        "8 steps": exploring(base, num_steps=8),
        "chunk 10": in_chunks(base, 10),
        "chunk 20": in_chunks(base, 20),
        "critic vlm, 1 layer": with_critic(base, layers=1),
        "critic expert": with_critic(base, placement="expert"),
        "critic expert, 1 layer": with_critic(base, placement="expert", layers=1),
        "two-layer": exploring(base, mdp="two-layer"),
        "one-layer": exploring(base, mdp="one-layer"),
        "learned noise": exploring(base, noise="flow-noise"),
        "GRPO": replace(base, train=replace(base.train, algorithm=grpo)),
    }


def exploring(base: Preset, **fields: Any) -> Preset:
    """The preset with other noise."""
    policy = base.train.policy
    assert isinstance(policy, FlowPolicySource)
    return replace(base, train=replace(base.train, policy=replace(policy, **fields)))


def in_chunks(base: Preset, chunk: int) -> Preset:
    """The preset with a policy that acts in other chunks."""
    start = replace(base.sft.policy, new=replace(base.sft.policy.new, chunk=chunk))
    return replace(base, sft=replace(base.sft, policy=start))


def with_critic(base: Preset, **fields: Any) -> Preset:
    """The preset with another critic."""
    return replace(base, train=replace(base.train, critic=replace(base.train.critic, **fields)))


def measured(preset: Preset, policy: Path, out: Path, seed: int) -> dict[str, Any]:
    """One variant with one seed: success before and after, with and without noise, and costs."""
    preset = replace(preset, train=replace(preset.train, seed=seed))
    before = {mode: evaluated(preset, policy, mode) for mode in ("sampled", "greedy")}
    lines = short_run(preset, policy, out / "rl")
    after = {mode: evaluated(preset, out / "rl", mode) for mode in ("sampled", "greedy")}
    critic = [line["explained_variance"] for line in lines if "explained_variance" in line]
    losses = [line["value_loss"] for line in lines if line.get("value_loss") is not None]
    return {
        "seed": seed,
        "train_before": before["sampled"],
        "eval_before": before["greedy"],
        "train_after": after["sampled"],
        "eval_after": after["greedy"],
        "sampled": [round(line["success_rate_sampled"], 4) for line in lines],
        "clip_fraction": round(fmean(line["clip_fraction"] or 0.0 for line in lines), 4),
        "approx_kl": round(fmean(line["approx_kl"] or 0.0 for line in lines), 4),
        "explained_variance": [round(value, 4) for value in critic],
        "value_loss": round(fmean(losses[-3:]), 4) if losses else None,
        "decisions": round(fmean(line["decisions"] for line in lines)),
        "seconds_rollout": round(median(line["seconds_rollout"] for line in lines), 2),
        "seconds_update": round(median(line["seconds_update"] for line in lines), 2),
    }


def settings(preset: Preset) -> dict[str, int]:
    """What all variants have in common and the command line chooses."""
    algorithm = preset.train.algorithm
    return {
        "iterations": preset.train.iterations,
        "episodes_per_iteration": algorithm.groups * algorithm.group_size,
        "episodes_per_task": preset.eval.episodes_per_task,
    }


def run_all(
    base: Preset, names: Iterable[str], seeds: Iterable[int], out: Path
) -> dict[str, list[dict[str, Any]]]:
    """The results of the variants, those of earlier calls among them."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        preset = variants(base)[name]
        policy = fine_tuned(preset, out, f"sft-chunk-{preset.sft.policy.new.chunk}")
        for seed in seeds:
            folder = out / name.replace(" ", "-").replace(",", "") / f"seed-{seed}"
            file = folder / "result.json"
            if not file.exists():
                result = measured(preset, policy, folder, seed) | settings(preset)
                file.write_text(json.dumps(result | provenance()))
            result = json.loads(file.read_text())
            if any(result[key] != value for key, value in settings(preset).items()):
                raise SystemExit(f"{file} was measured with other settings: choose another --out")
            results.setdefault(name, []).append(result)
    return results


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """One panel per figure: sampled success over the iterations, the mean over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(17, 7), layout="constrained", sharex=True)
    for panel, (title, names) in zip(axes.flat, FIGURES.items(), strict=False):
        for name in (name for name in names if name in results):
            rates = zip(*(run["sampled"] for run in results[name]), strict=True)
            panel.plot([100 * fmean(rate) for rate in rates], label=name)
        panel.set_title(title)
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
        panel.set_ylabel("success with noise, %")
    critic = axes.flat[len(FIGURES)]
    for name in FIGURES["Figure 6: critic"]:
        if name in results:
            values = zip(*(run["explained_variance"] for run in results[name]), strict=True)
            critic.plot([fmean(value) for value in values], label=name)
    critic.set_title("Figure 6: explained variance of the critic")
    critic.legend(fontsize=8)
    critic.grid(alpha=0.3)
    for panel in axes[-1]:
        panel.set_xlabel("iteration")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--episodes", type=int, default=80, help="per iteration")
    parser.add_argument("--episodes-per-task", type=int, default=50, help="of each evaluation")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="VARIANT")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-flow-ablations"))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    base = PRESETS["metaworld-flow-ppo"]
    algorithm = replace(base.train.algorithm, episodes=options.episodes)
    base = replace(
        base,
        train=replace(base.train, algorithm=algorithm, iterations=options.iterations),
        eval=replace(base.eval, episodes_per_task=options.episodes_per_task),
    )
    known = variants(base)
    names = options.only or list(known)
    unknown = sorted(set(names) - set(known))
    if unknown:
        parser.error(f"unknown variant {unknown}; have {list(known)}")
    results = run_all(base, names, options.seeds, options.out)
    draw(results, options.plot or options.out / "curves.png")
    print(json.dumps({"seeds": options.seeds, "variants": results, **provenance()}))


if __name__ == "__main__":
    main()
