"""`pushcut check-env` and `check-policy`: does a robot or a policy keep what pushcut builds on?"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pushcut.envs.base import Env, EnvConfig
from pushcut.envs.contract import EnvCase, promises_of
from pushcut.envs.contract.case import is_isolated
from pushcut.envs.init_states import demo_inits
from pushcut.envs.pool.expert import run_expert
from pushcut.errors import UserError
from pushcut.instructions import with_instructions
from pushcut.policies import load, new_policy
from pushcut.policies.base import Policy
from pushcut.policies.contract import PROMISES as POLICY_PROMISES
from pushcut.policies.contract import PolicyCase
from pushcut.policies.contract.case import BFLOAT16_ROUNDING, INSTRUCTIONS, ROUNDING
from pushcut.policies.from_data import PolicyConfig
from pushcut.policies.normalisation import NormStats
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.source import PolicySource, TokenPolicySource
from pushcut.presets.base import Preset
from pushcut.promises import Finding, examine, told
from pushcut.ranks.devices import choose_device
from pushcut.system.progress import say
from pushcut.system.stopwatch import Stopwatch

EXPERT_EPISODES = 5
MEASURED_S = 2.0
"""Time for which speeds are measured, seconds."""


@dataclass(frozen=True)
class CheckEnvConfig:
    """Holds an environment to its contract; builds it here and in a worker process."""

    env: EnvConfig
    expert_episodes: int = EXPERT_EPISODES
    """Initial states in which the scripted expert is tried."""

    def __post_init__(self) -> None:
        if self.expert_episodes < 0:
            raise ValueError(f"expert_episodes must be >= 0, got {self.expert_episodes}")

    @staticmethod
    def of(preset: Preset) -> CheckEnvConfig:
        """The environment of a preset."""
        return CheckEnvConfig(preset.train.env)


@dataclass(frozen=True)
class CheckPolicyConfig:
    """Holds a policy to its contract: a checkpoint, or a new one with random statistics."""

    policy: PolicySource = TokenPolicySource()
    new: PolicyConfig = TinyConfig()
    """What is made where no --policy.path is given."""
    state_size: int = 8
    """Length of the state for a new policy."""
    action_size: int = 7
    """Length of an action for a new policy."""
    seed: int = 0
    """Draws the weights of a new policy."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""

    @staticmethod
    def of(preset: Preset) -> CheckPolicyConfig:
        """The policy of a preset, in the sizes of its environment."""
        spec, train = preset.train.env.spec, preset.train
        return CheckPolicyConfig(
            train.policy, preset.sft.policy.new, spec.state_size, spec.action_size
        )


def run_check_env(config: EnvConfig, *, expert_episodes: int = EXPERT_EPISODES) -> int:
    """Prints a line for each promise, what was measured, and a verdict; 1 if one is broken.

    A mix of which a member needs an interpreter of its own is checked member by member.
    """
    config = with_instructions(config)
    apart = len(config.parts) > 1 and any(is_isolated(part) for part in config.parts)
    codes = [_check_env(one, expert_episodes) for one in (config.parts if apart else (config,))]
    return max(codes)


def _check_env(config: EnvConfig, expert_episodes: int) -> int:
    try:
        say(f"{config.title}: {_described(config)}")
        case = EnvCase.of(config)
    # It is somebody's code: whatever it raises is told, with its place.
    except Exception as error:
        return _cannot(config.title, "The environment can be built", error)
    try:
        findings = examine(case, promises_of(config), tell)
        for name, measured in _measured(case, expert_episodes):
            say(f"measured  {name}: {measured}")
    finally:
        case.env.close()
    return verdict(config.title, findings)


def run_check_policy(config: CheckPolicyConfig) -> int:
    """Prints a line for each promise and a verdict; 1 if one is broken."""
    if config.policy.path is None and config.policy.released != ReleasedConfig():
        raise UserError(
            "which checkpoint? give --policy.path FOLDER: this preset's model is not made new"
        )
    half = config.policy.released.precision == "bfloat16"
    try:
        policy = _policy(config).to(choose_device(config.device))
    except UserError:
        raise
    # It is somebody's code: whatever it raises is told, with its place.
    except Exception as error:
        return _cannot("the policy", "The policy can be made, saved and loaded", error)
    rounding = BFLOAT16_ROUNDING if half else ROUNDING
    return check_policy(
        policy,
        state_size=config.state_size,
        rounding=rounding,
        load=lambda path: replace(config.policy, path=path).load(seed=config.seed),
    )


def check_policy(
    policy: Policy,
    *,
    state_size: int = 1,
    rounding: float = ROUNDING,
    load: Callable[[Path], Policy] = load,
) -> int:
    """Holds a policy to its contract, which trains it for some steps; returns the exit code.

    The arguments are those of ``PolicyCase``.
    """
    title = type(policy).__name__
    weights = sum(parameter.numel() for parameter in policy.parameters())
    say(
        f"{title}: cameras {', '.join(policy.cameras) or 'none'} of {policy.image_size} pixels, "
        f"state {policy.state_size}, chunks of {policy.chunk} actions of {policy.action_size} "
        f"numbers, {weights:,} weights on {policy.device}"
    )
    case = PolicyCase.of(policy, state_size=state_size, rounding=rounding, load=load)
    return verdict(title, examine(case, POLICY_PROMISES, tell))


def _policy(config: CheckPolicyConfig) -> Policy:
    """The checkpoint, or what a new one is after it was saved: what training would start from."""
    if config.policy.path is not None:
        return config.policy.load(seed=config.seed)
    torch.manual_seed(config.seed)
    statistics = _random_statistics(config)
    with tempfile.TemporaryDirectory() as folder:
        new = new_policy(config.new, statistics=statistics, instructions=INSTRUCTIONS)
        new.save_pretrained(Path(folder))
        return replace(config.policy, path=Path(folder)).load(seed=config.seed)


def _random_statistics(config: CheckPolicyConfig) -> dict[str, NormStats]:
    """As of data whose states lie in [0, 1) and whose actions lie within random bounds."""
    rng = np.random.default_rng(config.seed)

    def of(low: np.ndarray, high: np.ndarray) -> NormStats:
        values = {
            "mean": (low + high) / 2,
            "std": (high - low) / 4,
            "q01": low + 0.01 * (high - low),
            "q99": high - 0.01 * (high - low),
            "min": low,
            "max": high,
        }
        return NormStats.of({name: value.tolist() for name, value in values.items()})

    size = config.action_size
    action = of(-0.5 - rng.random(size), 0.5 + rng.random(size))
    return {"state": of(np.zeros(config.state_size), np.ones(config.state_size)), "action": action}


def tell(finding: Finding) -> None:
    """Prints the line of a promise."""
    reason = finding.reason
    if reason:
        reason = f" ({reason})" if finding.verdict == "ok" else f": {reason}"
    say(f"{finding.verdict:<7}  {finding.seconds:6.2f} s  {finding.sentence}{reason}")


def verdict(title: str, findings: Sequence[Finding]) -> int:
    """Prints the last line and returns the exit code."""
    count = Counter(finding.verdict for finding in findings)
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    seconds = sum(finding.seconds for finding in findings)
    if count["FAILED"]:
        say(
            f"{title} breaks {count['FAILED']} of {len(findings)} promises{skipped}: mend the "
            "first one and check again"
        )
        return 1
    say(f"{title} keeps its {count['ok']} promises{skipped} ({seconds:.1f} s)")
    return 0


def _cannot(title: str, sentence: str, error: Exception) -> int:
    """The verdict on what cannot be looked at."""
    finding = Finding("it can be built", sentence, "FAILED", told(error), 0.0)
    tell(finding)
    return verdict(title, [finding])


def _described(config: EnvConfig) -> str:
    spec = config.spec
    cameras = ", ".join(f"{name} {w}x{h}" for name, (h, w) in spec.cameras.items()) or "none"
    return (
        f"{len(spec.tasks)} tasks, cameras {cameras}, state {spec.state_size}, action "
        f"{spec.action_size}, at most {spec.max_steps} steps at {spec.control_hz:g} Hz"
    )


def _measured(case: EnvCase, expert_episodes: int) -> list[tuple[str, str]]:
    """What a newcomer wants to know: speed, size and the expert; an error ends it."""
    lines: list[tuple[str, str]] = []
    try:
        lines.append(("speed", _speed(case)))
        lines.append(("snapshot", _snapshot_size(case.env)))
        if expert_episodes:
            lines.append(("expert", _expert(case, expert_episodes)))
    # The promise that this breaks has been told; here it only ends the measurements.
    except Exception as error:
        lines.append(("nothing more", told(error)))
    return lines


def _speed(case: EnvCase) -> str:
    """How long steps take without looking, a look (which draws all cameras), and a reset."""
    env, chunks = case.env, case.chunks(9)
    watch, steps, rounds = Stopwatch(), 0, 0
    begin = time.monotonic()
    while not rounds or time.monotonic() - begin < MEASURED_S:
        with watch.timed("reset"):
            env.reset(case.a)
        for chunk in chunks:
            with watch.timed("step"):
                result = env.step_chunk(chunk)
            steps += result.steps
            if result.done:
                break
        with watch.timed("look"):
            env.observe()
        rounds += 1
    spent = watch.take()
    return (
        f"{steps / spent['step']:,.0f} control steps per second, an observation in "
        f"{_ms(spent['look'] / rounds)}, a reset in {_ms(spent['reset'] / rounds)}"
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _snapshot_size(env: Env) -> str:
    """KB of a snapshot, as pickled; what it shares with the simulator is not counted."""
    try:
        size = len(pickle.dumps(env.snapshot()))
    # Anything may stand in a snapshot, and nobody promised that it can be pickled.
    except Exception as error:
        return f"cannot be pickled ({type(error).__name__}), so its size is not known"
    return f"{size / 1000:.1f} kB for each episode that waits for its turn"


def _expert(case: EnvCase, episodes: int) -> str:
    """How often the expert succeeds on initial states of demonstrations, tasks in turn."""
    tasks = list(case.config.spec.tasks)
    inits = [demo_inits(tasks[i % len(tasks)], i // len(tasks), 1)[0] for i in range(episodes)]
    steps: list[int] = []
    try:
        for init in inits:
            shown = run_expert(case.env, init, noise=0.0, rng=np.random.default_rng(0))
            if shown.success:
                steps.append(len(shown.action))
    except NotImplementedError:
        return "none: demonstrations must come from elsewhere"
    typical = f", in {np.median(steps):.0f} steps (median)" if steps else ""
    return f"succeeds in {len(steps)} of {episodes} initial states{typical}"
