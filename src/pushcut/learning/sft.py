"""Supervised fine-tuning: behaviour cloning of demonstrated action chunks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pushcut.demos.dataset import DemoDataset
from pushcut.errors import UserError
from pushcut.learning.optimiser import make_adamw
from pushcut.learning.schedules import warmup_cosine
from pushcut.policies.base import Policy
from pushcut.policies.normalisation import NormStats, measured_stats
from pushcut.system.progress import say

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class FitConfig:
    """How a policy is fitted to demonstrations."""

    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 64
    """Frames per step, each with its action chunk."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; cosine decay to a tenth of it."""
    warmup_steps: int = 50
    """Steps over which the learning rate rises linearly."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    validation_fraction: float = 0.0
    """Share of the episodes held out to measure the validation loss."""
    shift_pixels: int = 0
    """Largest random shift of images, pixels (augmentation); 0 is off."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "lr", "grad_clip", "log_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be in [0, 1), got {self.validation_fraction}"
            )


def norm_stats_of(dataset: DemoDataset) -> dict[str, NormStats]:
    """What a policy normalises "state" and "action" with, from a dataset's statistics."""
    found, stats = dataset.statistics(), {}
    for name in ("state", "action"):
        try:
            stats[name], changes = measured_stats(found[name].to_json(), name)
        except ValueError as error:
            raise UserError(f"the demonstrations' {name} cannot be scaled: {error}") from None
        for change in changes:
            say(f"statistics of the demonstrations: {change}")
    return stats


def fit(
    policy: Policy,
    training: DemoDataset,
    validation: DemoDataset | None,
    config: FitConfig,
    *,
    seed: int,
    report: Report,
) -> None:
    """Fits ``policy`` in place; ``report(step, metrics)`` is called after every step.

    Metrics are non-empty every ``log_every`` steps: loss, accuracy, lr, validation_loss.
    """
    generator = np.random.default_rng(seed)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = make_adamw(
        trained, lr=config.lr, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )
    policy.train()
    for step in range(config.steps):
        rate = warmup_cosine(
            step,
            peak=config.lr,
            warmup=config.warmup_steps,
            ramp=config.warmup_steps,
            decay=max(1, config.steps - config.warmup_steps),
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = generator.integers(len(training), size=config.batch_size)
        loss, metrics = _loss(policy, training, rows, config.shift_pixels, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.grad_clip)
        optimizer.step()
        last = step + 1 == config.steps
        if (step + 1) % config.log_every and not last:
            report(step + 1, {})
            continue
        line = {name: float(value) for name, value in metrics.items()} | {"lr": rate}
        if validation is not None:
            line |= validate(policy, validation, config.batch_size)
        report(step + 1, line)
    policy.eval()


@torch.no_grad()
def validate(policy: Policy, dataset: DemoDataset, batch_size: int) -> dict[str, float]:
    """Loss and accuracy over a whole dataset."""
    policy.eval()
    totals: dict[str, float] = {}
    for rows in np.array_split(np.arange(len(dataset)), math.ceil(len(dataset) / batch_size)):
        _, metrics = _loss(policy, dataset, rows, 0, np.random.default_rng(0))
        for name, value in metrics.items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(rows) / len(dataset)
    policy.train()
    return {f"validation_{name}": value for name, value in totals.items()}


def _loss(
    policy: Policy,
    dataset: DemoDataset,
    rows: np.ndarray,
    shift_pixels: int,
    generator: np.random.Generator,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    obs, action, valid = dataset.batch(rows, policy.horizon)
    if shift_pixels:
        for name, images in obs.images.items():
            obs.images[name] = shift(images, shift_pixels, generator)
    return policy.bc_loss(obs, torch.from_numpy(action), torch.from_numpy(valid), generator)


def shift(images: np.ndarray, pixels: int, generator: np.random.Generator) -> np.ndarray:
    """Shifts each image of uint8 [b, H, W, 3] at random, repeating the border."""
    b, height, width, _ = images.shape
    down, right = generator.integers(-pixels, pixels + 1, size=(2, b, 1))
    rows = (np.arange(height) + down).clip(0, height - 1)
    columns = (np.arange(width) + right).clip(0, width - 1)
    return images[np.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]]
