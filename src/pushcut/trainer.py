"""The loop: one iteration is collect, select, advantages, update, log, evaluate, save."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pushcut.batch import Rollout
from pushcut.cluster.config import ClusterConfig
from pushcut.cluster.start import open_simulators, run_ranks
from pushcut.config import TrainConfig
from pushcut.envs.base import parts_of
from pushcut.envs.init_states import validation_inits
from pushcut.errors import DivergedError, Interrupted, RankLostError, UserError
from pushcut.evaluation.evaluator import Evaluator
from pushcut.learning import checkpoint
from pushcut.learning.checkpoint import Progress
from pushcut.learning.learner import Learner
from pushcut.policies.base import Policy
from pushcut.ranks.base import Ranks
from pushcut.ranks.devices import choose_device, limit_threads
from pushcut.ranks.launcher import launched
from pushcut.ranks.start import announce, joined
from pushcut.resume import alone_in_run, open_run
from pushcut.rollout.collector import Collector
from pushcut.rollout.episode_runner import Player
from pushcut.rollout.prefetch import Ahead, acting_copy
from pushcut.runs.run import Run, note_restart
from pushcut.runs.timings import Stopwatch, describe, to_line
from pushcut.system.machine import usable_cores
from pushcut.system.progress import Bar, bar, say, silence
from pushcut.system.signals import SafeExit

UPDATE_METRICS = (
    "loss", "clip_fraction", "approx_kl", "entropy", "grad_norm", "lr", "logprob_mismatch",
)  # fmt: skip


@dataclass
class Trainer:
    """The parts of a training run."""

    config: TrainConfig
    collector: Collector | Ahead
    learner: Learner
    evaluator: Evaluator
    run: Run
    progress: Progress
    ranks: Ranks
    settled_steps: int = 0
    """Optimiser steps that belong to finished iterations."""
    stopwatch: Stopwatch = field(default_factory=lambda: Stopwatch(rest="other"))

    def loop(self, progress_bar: Bar) -> None:
        """Trains from ``progress.iteration`` to ``config.iterations``."""
        config, algorithm, policy = self.config, self.config.algorithm, self.learner.policy
        for iteration in range(self.progress.iteration, config.iterations):
            evaluated = self.evaluate(iteration) if due(iteration, config.evaluation.every) else {}
            with self.stopwatch.timed("rollout"):
                rollout = self.collector.collect(policy, iteration)  # 1. act in simulation
            batch = algorithm.select(rollout)  # 2. keep groups that teach
            credit = algorithm.advantages(batch)  # 3. credit
            with self.stopwatch.timed("update"):
                updated = self.learner.update(batch, credit, iteration)  # 4. learn
            line = self.line(rollout, batch, credit.metrics | updated)
            line |= self.timings(iteration, rollout)
            with self.ranks.together():
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
            rest = to_line(self.stopwatch.take()) | self.recovered()
            with self.ranks.together():
                self.run.log(config.iterations, evaluated | rest)
        self.save()
        self.settle()

    def line(self, rollout: Rollout, batch: Rollout, updated: dict[str, float]) -> dict[str, Any]:
        """What metrics.jsonl says of an iteration; what it lacks without an update is null."""
        counts = rollout.summary() | {"groups_kept": batch.groups}
        return counts | dict.fromkeys(UPDATE_METRICS) | updated | self.recovered()

    def recovered(self) -> dict[str, Any]:
        """What the next line of the metrics says of the recoveries of all ranks."""
        log = self.run.recoveries
        for rank, theirs in enumerate(self.ranks.gather([] if self.ranks.first else log.drain())):
            for recovery in theirs:
                log.note_line(recovery | {"rank": rank})
        return log.take()

    def timings(self, iteration: int, rollout: Rollout) -> dict[str, Any]:
        """Where the time since the last line went; says so and names the bottleneck."""
        seconds = self.stopwatch.take() | self.collector.seconds
        parts = self.config.rollout
        workers = parts.processes * len(parts_of(self.config.env))
        where = describe(seconds, workers=workers, slots=parts.slots, cores=int(usable_cores()))
        say(f"iteration {iteration}: sampled success {rollout.success_rate:.0%}; {where}")
        here = to_line(seconds)
        return here if self.ranks.count == 1 else here | {"ranks": self.ranks.gather(here)}

    def evaluate(self, iteration: int) -> dict[str, float]:
        """Evaluates, writes eval/NNNNNN-MODE.json and keeps the checkpoint if it is the best."""
        mode = self.config.evaluation.mode
        with self.stopwatch.timed("evaluate"):
            result = self.evaluator.evaluate(self.learner.policy, mode)
        with self.ranks.together():
            if self.ranks.first:
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
        with self.stopwatch.timed("save"), self.ranks.together():
            checkpoint.save(
                self.run.checkpoints,
                self.learner,
                self.progress,
                keep=self.config.keep,
                ranks=self.ranks,
            )

    def settle(self) -> None:
        """Waits for checkpoints that are written in the background."""
        with self.stopwatch.timed("save"), self.ranks.together():
            self.ranks.settle()

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


def train(config: TrainConfig) -> Run:
    """Trains a policy in a run folder; Ctrl-C and SIGTERM save before they raise.

    Where torchrun or Ray started several of us, each is a rank of one run.
    """
    if config.cluster.engine != "none" and not launched():
        run_ranks(
            config.cluster,
            train_as_rank,
            config,
            gpus=config.device != "cpu",
            on_restart=lambda reason: note_restart(config.out, reason),
        )
        return Run.watched(config.out)
    gpus = config.device != "cpu"
    with joined(config.ranks, gpus=gpus) as ranks, alone_in_run(config, ranks):
        return train_on(ranks, config)


def train_as_rank(cluster: ClusterConfig, config: TrainConfig) -> None:
    """Trains in a process that the cluster started."""
    train(replace(config, cluster=cluster))


def train_on(ranks: Ranks, config: TrainConfig) -> Run:
    """This rank's part in the training of a policy."""
    limit_threads(config.threads)
    if not ranks.first:
        silence()
    announce(ranks, config.ranks, config.algorithm.groups)
    policy = load_policy(config, ranks)
    actor = acting_copy(policy) if config.overlap else None
    learner = Learner(
        policy,
        config.algorithm,
        config.learner,
        seed=config.seed,
        critic=config.critic,
        ranks=ranks,
    )
    run, progress = open_run(config, learner, ranks)
    with (
        run,
        open_simulators(
            config.cluster,
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
        learner.check = lambda left_s: stop_together(ranks, stop.too_long(left_s))
        tasks = list(config.tasks or pool.spec.tasks)
        held_out = validation_inits(tasks, config.evaluation.episodes_per_task)
        with collecting(config, player, tasks, ranks, actor) as collector:
            trainer = Trainer(
                config=config,
                collector=collector,
                learner=learner,
                evaluator=Evaluator(player, held_out, ranks=ranks),
                run=run,
                progress=progress,
                ranks=ranks,
            )
            progress_bar.set(progress.iteration)
            with saved_on_stop(trainer):
                trainer.loop(progress_bar)
    return run


def stop_together(ranks: Ranks, exit_code: int) -> None:
    """Raises ``Interrupted`` on every rank where one of them must stop (a code above 0)."""
    if any(ranks.sum([float(exit_code)])):
        raise Interrupted(max(ranks.gather(exit_code)))


def load_policy(config: TrainConfig, ranks: Ranks) -> Policy:
    """What is to be trained, with a critic where one is needed."""
    # Weights that will be sharded get onto the device in parts, unless a copy stays whole.
    in_parts = ranks.sharded and not config.overlap
    with ranks.together():
        device = choose_device(config.device, ranks.local)
        policy = config.policy.load(seed=config.seed, in_files=in_parts)
        if not in_parts:
            policy.to(device)
    if config.algorithm.needs_critic:
        policy.add_critic(config.critic, seed=config.seed)
    return policy


@contextlib.contextmanager
def collecting(
    config: TrainConfig, player: Player, tasks: list[str], ranks: Ranks, actor: Policy | None
) -> Iterator[Collector | Ahead]:
    """What collects the rollouts: when they are due, or ahead with a copy of the policy."""
    algorithm = config.algorithm
    collector = Collector(
        player,
        tasks=tasks,
        seed=config.seed,
        group_size=algorithm.group_size,
        groups=algorithm.groups,
        max_groups=algorithm.max_groups,
        accepts=algorithm.accepts,
        stream_decisions=algorithm.stream_decisions,
        final_values=algorithm.needs_final_values,
        benchmark_inits=player.spec.fixed_inits if config.train_init == "benchmark" else 0,
        ranks=ranks,
    )
    if actor is None:
        yield collector
        return

    def ahead(iteration: int) -> bool:
        # A checkpoint holds one policy: who resumes from it must play what was played here.
        # Evaluations need the simulators for themselves, and may save too.
        alone = due(iteration, config.save_every) or due(iteration, config.evaluation.every)
        return iteration < config.iterations and not alone

    with Ahead(collector, actor, ahead=ahead, ranks=ranks) as collecting_ahead:
        yield collecting_ahead


@contextlib.contextmanager
def saved_on_stop(trainer: Trainer) -> Iterator[None]:
    """Saves finished iterations when a signal or a user's problem ends the loop.

    The weights of an iteration that is not finished are no checkpoint: it is played again.
    """
    try:
        yield
    except (DivergedError, RankLostError):
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
            trainer.settle()
            say(f"saved iteration {trainer.progress.iteration}; continue with --resume")
        raise


def due(iteration: int, every: int) -> bool:
    """Whether something that happens every so many iterations is due; never if that is 0."""
    return every > 0 and iteration % every == 0
