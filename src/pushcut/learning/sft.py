"""Supervised fine-tuning: behaviour cloning of demonstrated action chunks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pushcut.demos.dataset import DemoDataset
from pushcut.errors import DivergedError, UserError
from pushcut.learning.augmentation import Augment, augmented, frame_streams
from pushcut.learning.averages import MovingAverage
from pushcut.learning.draws import RowsOf
from pushcut.learning.frames import Frames, draw_shifts, moved
from pushcut.learning.optimiser import make_adamw
from pushcut.learning.schedules import warmup_cosine
from pushcut.policies.base import Policy
from pushcut.policies.normalisation import NormStats, measured_stats
from pushcut.ranks.base import Ranks, SingleProcess
from pushcut.system.progress import say

Report = Callable[[int, dict[str, float]], None]

LOST_STEPS = 10
"""So many steps in a row without finite gradients, and the run ends."""


@dataclass(frozen=True)
class FitConfig:
    """How a policy is fitted to demonstrations."""

    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 64
    """Frames per step, each with its action chunk; several ranks share them."""
    micro_batch: int = 0
    """Frames per forward and backward, on each rank; bounds the memory, not the result. 0: all."""
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
    augment: Augment = "none"
    """Random changes of the images: OpenVLA-OFT's (crop of 0.9 of the area, brightness, contrast,
    saturation, hue) or openpi's (crop of 0.95 of each side and rotation by up to 5 degrees, but not
    of wrist cameras; brightness, contrast, saturation)."""
    tail: Literal["mask", "repeat", "drop"] = "mask"
    """Near an episode's end, steps of the chunk after its last action are not fitted, or are to
    repeat it (openpi), or frames that have such steps are left out (OpenVLA-OFT)."""
    bin_spread: float = 0.0
    """Action tokens are fitted to a Gaussian over the bins around the demonstrated one, with this
    standard deviation in bins: sampling then explores near the demonstrated action. 0: to the
    demonstrated bin alone (OpenVLA-OFT, SimpleVLA-RL)."""
    ema: float = 0.0
    """The policy that is saved and validated is an exponential moving average of the weights, with
    this decay per step (openpi: 0.99, pi0.5 0.999); 0: the weights of the last step."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "lr", "grad_clip", "log_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("micro_batch", "warmup_steps", "weight_decay", "shift_pixels", "bin_spread"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("validation_fraction", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")

    def parts_of(self, frames: int, ranks: int) -> int:
        """How many forwards and backwards each of some ranks makes of so many frames."""
        share = -(-frames // ranks)
        return -(-share // (self.micro_batch or share))

    def largest_part(self, ranks: int = 1) -> int:
        """The most frames of a forward and backward on each of some ranks."""
        share = -(-self.batch_size // ranks)
        return min(self.micro_batch or share, share)


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


class Fitting:
    """A policy on its way, with all that the next step depends on.

    Every rank draws the same batches and computes a share of each, in micro-batches; gradients
    add up to those of the whole batch. The ranks hold the policy's weights from now on, in parts
    or in full.
    """

    def __init__(
        self, policy: Policy, config: FitConfig, *, seed: int, ranks: Ranks | None = None
    ) -> None:
        self.policy, self.config, self.ranks = policy, config, ranks or SingleProcess()
        if config.bin_spread:
            policy.spread_targets(config.bin_spread)
        if config.batch_size < self.ranks.count:
            raise UserError(
                f"{self.ranks.count} ranks share a batch of {config.batch_size} frames: "
                f"--fit.batch-size {self.ranks.count} at least"
            )
        self.ranks.place(policy, policy.parameter_dtypes())
        self.step = 0
        """Steps that are done."""
        self.seed, self.generator = seed, np.random.default_rng(seed)
        self.drawn = self.generator.bit_generator.state
        """The generator's state after those steps."""
        self.trained = {
            name: parameter
            for name, parameter in policy.named_parameters()
            if parameter.requires_grad
        }
        self.optimizer = make_adamw(
            list(self.trained.values()),
            lr=config.lr,
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
        )
        self.average = MovingAverage(self.trained, config.ema) if config.ema else None
        self._lost_steps = 0

    def run(self, training: DemoDataset, validation: DemoDataset | None, report: Report) -> None:
        """The steps that are left; ``report(step, metrics)`` is called after each of them.

        Metrics are non-empty every ``log_every`` steps: loss, accuracy, lr, validation_loss.
        """
        config = self.config
        frames = Frames(training, self.policy.horizon, config.tail)
        self.policy.train()
        while self.step < config.steps:
            rate = self._set_rate()
            metrics = self._step(frames)
            self.step, self.drawn = self.step + 1, self.generator.bit_generator.state
            if self.step % config.log_every and self.step < config.steps:
                report(self.step, {})
                continue
            line = {name: float(value) for name, value in metrics.items()}
            line = dict(zip(line, self.ranks.sum(list(line.values())), strict=True)) | {"lr": rate}
            if validation is not None:
                line |= self.validate(validation)
            report(self.step, line)
        self.policy.eval()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Policy]:
        """The policy as it is saved: with averaged weights, where there are averages."""
        if self.average is None:
            yield self.policy
            return
        try:
            with self.average.in_place():
                self.ranks.weights_changed(self.policy)
                yield self.policy
        finally:
            self.ranks.weights_changed(self.policy)

    @torch.no_grad()
    def validate(self, dataset: DemoDataset) -> dict[str, float]:
        """Loss and accuracy over a whole dataset."""
        frames, totals = Frames(dataset, self.policy.horizon, "mask"), {}
        batches = math.ceil(len(dataset) / self.config.batch_size)
        self.policy.eval()
        with self.averaged():
            for rows in np.array_split(np.arange(len(dataset)), batches):
                for part in self._parts(frames, rows, np.random.default_rng(0)):
                    share = part.weight * len(rows) / len(dataset)
                    _, metrics = self._loss(frames, part)
                    for name, value in metrics.items():
                        totals[name] = totals.get(name, 0.0) + float(value) * share
        self.policy.train()
        sums = self.ranks.sum(list(totals.values()))
        return {f"validation_{name}": x for name, x in zip(totals, sums, strict=True)}

    def _set_rate(self) -> float:
        config = self.config
        rate = warmup_cosine(
            self.step,
            peak=config.lr,
            warmup=config.warmup_steps,
            ramp=config.warmup_steps,
            decay=max(1, config.steps - config.warmup_steps),
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _step(self, frames: Frames) -> dict[str, Tensor]:
        """One optimiser step; this rank's part of its metrics."""
        rows = frames.draw(self.config.batch_size, self.generator)
        totals: dict[str, Tensor] = {}
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._parts(frames, rows, self.generator, augment=True)
        number = self.config.parts_of(len(rows), self.ranks.count)
        for part in self.ranks.summed_once(parts, number):
            loss, metrics = self._loss(frames, part)
            (loss * part.weight * self.ranks.loss_scale()).backward()
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + value.detach() * part.weight
        self.ranks.sum_gradients(self.trained.values())
        clipped = torch.nn.utils.clip_grad_norm_(self.trained.values(), self.config.grad_clip)
        if np.isfinite(self.ranks.norm(clipped)):
            self._lost_steps = 0
            self.optimizer.step()
            if self.average is not None:
                self.average.update()
            return totals
        self._lost_steps += 1
        if self._lost_steps == LOST_STEPS:
            raise DivergedError(
                f"step {self.step + 1}: {LOST_STEPS} steps in a row had no finite gradients; "
                "start anew with a lower --fit.lr, and look at the dataset's statistics"
            )
        return totals

    def _parts(
        self,
        frames: Frames,
        rows: np.ndarray,
        generator: np.random.Generator,
        *,
        augment: bool = False,
    ) -> Iterator[Part]:
        """This rank's micro-batches of a batch, as many on every rank.

        Random numbers are those of the whole batch, and ``generator`` is left as if it had been
        computed at once.
        """
        pixels = self.config.shift_pixels if augment else 0
        cameras = self.policy.cameras if pixels else ()
        shifts = {name: draw_shifts(len(rows), pixels, generator) for name in cameras}
        kind: Augment = self.config.augment if augment else "none"
        changes = kind != "none"
        count, begun = frames.steps_of(rows), generator.bit_generator.state
        share = np.array_split(np.arange(len(rows)), self.ranks.count)[self.ranks.index]
        number = self.config.parts_of(len(rows), self.ranks.count)
        whole = self.ranks.count == 1 and number == 1
        for part in np.array_split(share, number):
            # A rank whose share is smaller computes something that counts for nothing.
            places = part if len(part) else np.zeros(1, np.int64)
            draws = generator if whole else RowsOf(begun, len(rows), places)
            yield Part(
                rows=rows[places],
                weight=float(count[part].sum() / max(1, count.sum())),
                generator=draws,
                shifts={name: moves[:, places] for name, moves in shifts.items()},
                augment=kind,
                streams=frame_streams(self.seed, self.step, places.tolist()) if changes else [],
            )
            if not whole:
                generator.bit_generator.state = draws.bit_generator.state

    def _loss(self, frames: Frames, part: Part) -> tuple[Tensor, dict[str, Tensor]]:
        obs, action, valid = frames.batch(part.rows)
        for name, moves in part.shifts.items():
            obs.images[name] = moved(obs.images[name], moves)
        if part.augment != "none":
            seen = {name: obs.images[name] for name in self.policy.cameras}
            where, centre = self.policy.device, self.policy.centre
            seen = augmented(seen, part.streams, part.augment, device=where, centre=centre)
            obs.images.update(seen)
        action, valid = torch.from_numpy(action), torch.from_numpy(valid)
        return self.policy.bc_loss(obs, action, valid, part.generator)


@dataclass(frozen=True)
class Part:
    """A micro-batch, and its random numbers."""

    rows: np.ndarray
    """Numbers of the frames."""
    weight: float
    """Share of the steps of the whole batch that is in it."""
    generator: np.random.Generator
    shifts: dict[str, np.ndarray]
    augment: Augment
    streams: list[np.random.Generator]
    """One for each frame."""
