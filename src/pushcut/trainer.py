"""The loop: one iteration is collect, select, advantages, update, log, evaluate, save."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pushcut import checkpoint
from pushcut.batch import Rollout
from pushcut.checkpoint import Progress
from pushcut.config import TrainConfig
from pushcut.devices import choose_device, limit_threads
from pushcut.envs.pool import EnvPool
from pushcut.errors import DivergedError, Interrupted, UserError
from pushcut.evaluator import Evaluator
from pushcut.learner import Learner
from pushcut.lock import alone_in_folder, is_empty
from pushcut.manifests import validation_inits
from pushcut.progress import Bar, bar, say
from pushcut.recoveries import Recovery
from pushcut.rollout.collector import Collector
from pushcut.rollout.player import Player
from pushcut.run import Run, check_stored_config
from pushcut.signals import SafeExit

MAY_CHANGE_ON_RESUME = (
    "iterations", "patience", "save_every", "keep", "trackers", "device", "threads", "out",
    "resume", "slots", "workers", "timeout_s", "grace_s",
)  # fmt: skip

UPDATE_METRICS = (
    "loss", "clip_fraction", "approx_kl", "entropy", "grad_norm", "lr", "logprob_mismatch",
)  # fmt: skip


@dataclass
class Trainer:
    """The parts of a training run."""

    config: TrainConfig
    collector: Collector
    learner: Learner
    evaluator: Evaluator
    run: Run
    progress: Progress
    settled_steps: int = 0
    """Optimiser steps that belong to finished iterations."""
    seconds: dict[str, float] = field(default_factory=dict)

    def loop(self, progress_bar: Bar) -> None:
        """Trains from ``progress.iteration`` to ``config.iterations``."""
        config, algorithm, policy = self.config, self.config.algorithm, self.learner.policy
        for iteration in range(self.progress.iteration, config.iterations):
            evaluated = self.evaluate(iteration) if due(iteration, config.evaluation.every) else {}
            with self.timed("rollout"):
                rollout = self.collector.collect(policy, iteration)  # 1. act in simulation
            batch = algorithm.select(rollout)  # 2. keep groups that teach
            credit = algorithm.advantages(batch)  # 3. credit
            with self.timed("update"):
                updated = self.learner.update(batch, credit, iteration)  # 4. learn
            line = self.line(rollout, batch, credit.metrics | updated)
            self.run.log_episodes(iteration, rollout.ledger())
            self.run.log(iteration, evaluated | line)
            idle = 0 if updated else self.progress.idle + 1
            self.progress = replace(self.progress, iteration=iteration + 1, idle=idle)
            self.settled_steps = self.learner.steps
            if due(iteration + 1, config.save_every):
                self.save()
            progress_bar.advance(note=f"sampled success {rollout.success_rate:.0%}")
            self.give_up_if_idle(rollout)
        if config.evaluation.every:
            evaluated = self.evaluate(config.iterations)
            self.run.log(config.iterations, evaluated | self.run.recoveries.take())
        self.save()

    def line(self, rollout: Rollout, batch: Rollout, updated: dict[str, float]) -> dict[str, Any]:
        """What metrics.jsonl says of an iteration; what it lacks without an update is null."""
        seconds = {f"seconds_{name}": value for name, value in self.seconds.items()}
        counts = rollout.summary() | {"groups_kept": batch.groups}
        known = counts | dict.fromkeys(UPDATE_METRICS) | updated | seconds
        return known | self.run.recoveries.take()

    def evaluate(self, iteration: int) -> dict[str, float]:
        """Evaluates, writes eval/NNNNNN-MODE.json and keeps the checkpoint if it is the best."""
        mode = self.config.evaluation.mode
        result = self.evaluator.evaluate(self.learner.policy, mode)
        result.save(self.run.evaluation(f"{iteration:06d}-{mode}"), iteration=iteration)
        say(f"iteration {iteration}: {mode} success {result.total}")
        if result.total.value > self.progress.best:
            self.progress = replace(
                self.progress, best=result.total.value, best_iteration=iteration
            )
            self.save()
        return result.metrics()

    def save(self) -> None:
        """Writes the checkpoint of the finished iterations."""
        checkpoint.save(self.run.checkpoints, self.learner, self.progress, keep=self.config.keep)

    def give_up_if_idle(self, rollout: Rollout) -> None:
        """UserError when no rollout taught anything for ``patience`` iterations."""
        idle = self.progress.idle
        if idle < self.config.patience:
            return
        rate, size = rollout.success_rate, self.config.algorithm.group_size
        lack = "episode had a reward"
        if size > 1:
            lack = f"group of {size} had both successes and failures"
        reason = (
            "every episode succeeds: there is nothing left to learn here"
            if rate > 0.5
            else "the policy hardly ever succeeds, and outcome reward teaches nothing then "
            "(SimpleVLA-RL, failure modes): fine-tune on more demonstrations or for longer, "
            "or explore more (--policy.temperature, --policy.noise-level); "
            "`pushcut doctor --checkpoint` checks this first"
        )
        raise UserError(
            f"gave up: no {lack} for {idle} iterations (sampled success {rate:.1%}); {reason}"
        )

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Notes how many seconds the body took."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


@alone_in_folder
def train(config: TrainConfig) -> Run:
    """Trains a policy in a run folder; Ctrl-C and SIGTERM save before they raise."""
    limit_threads(config.threads)
    policy = config.policy.load(seed=config.seed).to(choose_device(config.device))
    if config.algorithm.needs_critic:
        policy.add_critic(config.critic, seed=config.seed)
    learner = Learner(
        policy, config.algorithm, config.learner, seed=config.seed, critic=config.critic
    )
    run, progress = open_run(config, learner)
    with (
        EnvPool(
            config.env,
            slots=config.rollout.slots,
            workers=config.rollout.processes,
            timeout_s=config.rollout.timeout_s,
            final_observation=config.algorithm.needs_final_values,
            on_recovery=run.recoveries.note,
        ) as pool,
        # Nothing is lost by a signal that comes before.
        SafeExit(config.grace_s) as stop,
        bar("training", config.iterations) as progress_bar,
    ):
        player = Player(
            pool,
            seed=config.seed,
            inference_batch=config.rollout.inference_batch,
            check=stop.check,
        )
        learner.check = stop.check_work
        tasks = list(config.tasks or pool.spec.tasks)
        trainer = Trainer(
            config=config,
            collector=Collector(
                player,
                tasks=tasks,
                seed=config.seed,
                group_size=config.algorithm.group_size,
                groups=config.algorithm.groups,
                max_groups=config.algorithm.max_groups,
                accepts=config.algorithm.accepts,
                stream_decisions=config.algorithm.stream_decisions,
                final_values=config.algorithm.needs_final_values,
                benchmark_inits=pool.spec.fixed_inits if config.train_init == "benchmark" else 0,
            ),
            learner=learner,
            evaluator=Evaluator(
                player, validation_inits(tasks, config.evaluation.episodes_per_task)
            ),
            run=run,
            progress=progress,
        )
        progress_bar.set(progress.iteration)
        with saved_on_stop(trainer):
            trainer.loop(progress_bar)
    return run


def open_run(config: TrainConfig, learner: Learner) -> tuple[Run, Progress]:
    """A new run folder, or with ``resume`` the one there is and its newest readable checkpoint."""
    out = config.out
    if not config.resume or out is None or not out.exists() or is_empty(out):
        return Run.create(out, config, config.trackers), Progress(iteration=0)
    if not (out / "config.json").exists():
        raise UserError(f"--resume: no run at {out}; name its folder with --out")
    check_stored_config(out, config, may_change=MAY_CHANGE_ON_RESUME)
    progress, damaged = checkpoint.load_newest(out / "checkpoints", learner)
    progress = progress or Progress(iteration=0)
    run = Run(out, config.trackers, progress.iteration)
    for problem in damaged.values():
        say(f"passed over: {problem}")
        run.recoveries.note(Recovery("checkpoint", problem))
    reason = f"went on from iteration {progress.iteration}"
    run.recoveries.note(Recovery("resumed", reason, iterations=run.replayed))
    return run, progress


@contextlib.contextmanager
def saved_on_stop(trainer: Trainer) -> Iterator[None]:
    """Saves finished iterations when a signal or a user's problem ends the loop.

    The weights of an iteration that is not finished are no checkpoint: it is played again.
    """
    try:
        yield
    except DivergedError:
        raise  # the last checkpoint is better than the weights at hand
    except (Interrupted, UserError, OSError):
        if trainer.settled_steps < trainer.learner.steps:
            say(
                f"stopped inside the update of iteration {trainer.progress.iteration}, which is "
                "not saved; --resume goes on from the newest checkpoint"
            )
            raise
        # A full disk is the very error that is being raised: do not hide it by another.
        with contextlib.suppress(UserError, OSError):
            trainer.save()
            say(f"saved iteration {trainer.progress.iteration}; continue with --resume")
        raise


def due(iteration: int, every: int) -> bool:
    """Whether something that happens every so many iterations is due; never if that is 0."""
    return every > 0 and iteration % every == 0
