"""`pushcut sft`: fine-tunes a fresh policy on demonstrations, in a run folder."""

from __future__ import annotations

from pathlib import Path

import torch

from pushcut.config import SFTConfig
from pushcut.demos.dataset import DemoDataset
from pushcut.errors import Interrupted, UserError
from pushcut.learning.sft import fit, norm_stats_of
from pushcut.policies import new_policy
from pushcut.policies.base import Policy
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.told import told_by
from pushcut.ranks.devices import choose_device, limit_threads
from pushcut.runs.lock import alone_in_folder
from pushcut.runs.run import Run
from pushcut.system.progress import bar, say
from pushcut.system.signals import SafeExit


@alone_in_folder
def run_sft(config: SFTConfig) -> Path:
    """Fits a policy and returns its folder, OUT/policy; Ctrl-C saves what there is."""
    if config.policy.path is None and config.policy.released != ReleasedConfig():
        raise UserError(
            "which checkpoint is to be fine-tuned? give --policy.path FOLDER: this preset's model "
            "is not trained from nothing"
        )
    limit_threads(config.threads)
    dataset = open_dataset(config)
    training, validation = dataset, None
    if config.fit.validation_fraction > 0:
        training, validation = dataset.split(config.fit.validation_fraction, config.seed)
    policy = first_policy(config, training).to(choose_device(config.device))
    policy.told = {**policy.told, **told_by(training.episodes)}
    port = config.prometheus_port
    run = Run.create(config.out, config, config.trackers, prometheus_port=port)
    folder = run.path / "policy"
    with run:
        try:
            _fit_with_bar(policy, training, validation, config, run)
        except Interrupted:
            policy.save_pretrained(folder)
            say(f"saved the unfinished policy to {folder}")
            raise
        policy.save_pretrained(folder)
    return folder


def first_policy(config: SFTConfig, training: DemoDataset) -> Policy:
    """The policy before its first step.

    A fresh one knows the words of the whole dataset, also of tasks that it is not fitted to:
    their embeddings then stay as random as they begin, but differ from word to word.
    """
    if config.policy.path is None:
        torch.manual_seed(config.seed)
        instructions = (*training.info.tasks.values(), *config.instructions)
        return new_policy(
            config.policy.new, statistics=norm_stats_of(training), instructions=instructions
        )
    data = norm_stats_of(training) if config.statistics == "data" else None
    policy = config.policy.load(data, seed=config.seed)
    cameras, image_size = images(config)
    for name, here in {
        "cameras": cameras,
        "image_size": image_size,
        "action_size": training.info.action_size,
    }.items():
        stored = getattr(policy, name)
        if stored != here:
            raise UserError(
                f"{config.policy.path} was made for {name} {stored}, here it is {here}: choose the "
                f"preset and demonstrations it was made with{_cure(config, name)}"
            )
    state = training.info.state_size
    if policy.state_size not in (0, state):
        raise UserError(
            f"{config.policy.path} takes a state of {policy.state_size} numbers, the "
            f"demonstrations have {state}: choose those it was made with{_cure(config, 'state')}"
        )
    return policy


def _cure(config: SFTConfig, name: str) -> str:
    """What makes another robot's checkpoint fit, where something does."""
    if config.statistics == "data" or not name.startswith(("state", "action")):
        return ""
    return ", or measure them anew with --statistics data (released VLAs)"


def images(config: SFTConfig) -> tuple[tuple[str, ...], int]:
    """Cameras and size of the images that the policy wants to see."""
    shape, released = config.policy.new, config.policy.released
    if config.policy.path is None:
        return shape.cameras, shape.image_size
    return released.cameras or shape.cameras, released.image_size or shape.image_size


def open_dataset(config: SFTConfig) -> DemoDataset:
    """The demonstrations, with the images that the policy wants to see."""
    if config.dataset is None:
        raise UserError(
            "which demonstrations? give --dataset FOLDER; `pushcut collect PRESET` makes one"
        )
    cameras, image_size = images(config)
    dataset = DemoDataset.open(
        config.dataset,
        cameras=cameras,
        image_size=image_size,
        data=config.data,
        tasks=config.tasks,
        episodes_per_task=config.episodes_per_task,
    )
    for change in dataset.frames.changes:
        say(f"{config.dataset}: {change}")
    return dataset


def _fit_with_bar(
    policy: Policy,
    training: DemoDataset,
    validation: DemoDataset | None,
    config: SFTConfig,
    run: Run,
) -> None:
    with SafeExit() as stop, bar("fine-tuning", config.fit.steps) as progress:

        def report(step: int, metrics: dict[str, float]) -> None:
            if metrics:
                run.log(step, metrics)
            note = f"loss {metrics['loss']:.3f}" if metrics else None
            progress.set(step, note)
            if config.save_every and step % config.save_every == 0:
                policy.save_pretrained(run.checkpoints / f"{step:06d}" / "policy")
            stop.check()

        fit(policy, training, validation, config.fit, seed=config.seed, report=report)
