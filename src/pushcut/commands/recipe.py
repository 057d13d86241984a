"""Recipes: phases in one folder, each done once; a stopped recipe goes on with --resume."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pushcut.assembly import train
from pushcut.commands.collect import run_collect
from pushcut.commands.evaluate import run_eval
from pushcut.commands.sft import run_sft
from pushcut.config import EvalConfig, RecipeConfig, SFTConfig, TrainConfig
from pushcut.errors import UserError
from pushcut.evaluation.results import EvalResult, load_result
from pushcut.policies.released.options import ReleasedConfig
from pushcut.rollout.fit import PlannedShape, check_fits
from pushcut.runs.lock import is_empty
from pushcut.runs.logs import LOG, log_to
from pushcut.runs.run import Run, provenance
from pushcut.system.progress import say

PHASES = "phases.json"
"""File that says which phases are done, how long they took and at which commits they ran."""

MAY_CHANGE_ON_RESUME = (
    "out", "resume", "device", "threads", "trackers", "prometheus_port", "slots", "workers",
    "timeout_s", "videos",
)  # fmt: skip
"""Fields that change no result: phases that are done stand for all others."""


C = TypeVar("C", bound=RecipeConfig)


@dataclass
class Recipe(Generic[C]):
    """The phases of a folder; a phase that finished is not run again."""

    config: C
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> seconds so far, interrupted attempts included."""
    done: list[str] = field(default_factory=list)
    """Phases that finished."""
    commits: list[str | None] = field(default_factory=list)
    """Commits of the code that ran the phases."""

    @classmethod
    def open(cls, config: C):  # beartype knows no Self here
        """A new recipe, or with ``resume`` what its folder holds."""
        try:
            check_recipe(config)
        except UserError as error:
            raise UserError(in_recipe(str(error), config)) from None
        out = config.out
        if not (config.resume and out.exists() and not is_empty(out)):
            Run.create(out, config)
            return cls(config)
        Run.resume(out, config, (), first=0, may_change=MAY_CHANGE_ON_RESUME)
        phases = out / PHASES
        return cls(config, **(json.loads(phases.read_text()) if phases.exists() else {}))

    @property
    def out(self) -> Path:
        """Folder of the recipe."""
        return self.config.out

    def phase(
        self, name: str, title: str, result: Path, action: Callable[[], Any], *, part: str = ""
    ) -> None:
        """Runs a phase unless it is done and its ``result`` there, and notes its seconds.

        ``part``: the part of the config that it follows.
        """
        if name in self.done and result.exists():
            say(f"{title}: done before")
            return
        commit = provenance()["commit"]
        self.commits += [] if commit in self.commits else [commit]
        start = time.perf_counter() - self.seconds.get(name, 0.0)
        try:
            with log_to(self.out / LOG):
                say(f"\n=== {title}")
                action()
            self.done.append(name)
        except UserError as error:
            error.args = (in_recipe(str(error), self.config, part),)
            raise
        finally:
            self.seconds[name] = round(time.perf_counter() - start, 1)
            notes = {"seconds": self.seconds, "done": self.done, "commits": self.commits}
            write_json(self.out / PHASES, notes)
            if not self.done:
                self._undo()

    def _undo(self) -> None:
        """Removes the records of a recipe of which nothing came: the same command may be given."""
        records = [self.out / name for name in ("config.json", "config.yaml", PHASES, LOG)]
        if {entry for entry in self.out.iterdir() if not entry.name.startswith(".")} <= {*records}:
            for record in records:
                record.unlink(missing_ok=True)

    def collect(self) -> Path:
        """Demonstrations by scripted experts; returns their folder."""
        out = self.out / "demonstrations"
        config = replace(self.config.collect, seed=self.config.seed, out=out)
        title = "demonstrations by scripted experts"
        self.phase("collect", title, out, lambda: run_collect(config), part="collect")
        return out

    def fine_tune(self, name: str, title: str, config: SFTConfig) -> Path:
        """SFT in OUT/NAME, an unfinished attempt thrown away; returns the policy's folder."""
        out = self.out / name

        def action() -> None:
            shutil.rmtree(out, ignore_errors=True)
            envs = (self.config.train.env, self.config.eval.env)
            run_sft(replace(config, seed=self.config.seed, out=out), envs)

        self.phase(name, title, out / "policy", action, part="sft")
        return out / "policy"

    def train(self, name: str, config: TrainConfig, policy: Path, where: str = "") -> Path:
        """RL from a policy in OUT/NAME; an interrupted run goes on from its newest checkpoint."""
        out = self.out / name
        source = replace(config.policy, path=policy)
        config = replace(config, policy=source, seed=self.config.seed, out=out)

        def action() -> None:
            train(replace(config, resume=True))

        method = type(config.algorithm).__name__
        self.phase(name, f"{method} from outcome reward{where}", out, action, part="train")
        return out

    def evaluate(
        self, name: str, title: str, file: Path, config: EvalConfig, policy: Path
    ) -> EvalResult:
        """Evaluates a policy, exploring as in training, into FILE."""
        source = replace(self.config.train.policy, path=policy)
        config = replace(config, policy=source, out=file)

        def action() -> None:
            file.unlink(missing_ok=True)  # of an attempt that was cut off
            run_eval(config)

        self.phase(name, title, file, action, part="eval")
        return load_result(file)[0]

    def facts(self) -> dict[str, Any]:
        """Facts about how the recipe was run, for its result."""
        run = {"seconds": self.seconds, "commits": self.commits}
        return run | provenance() | {"cores": os.cpu_count()}


def check_recipe(config: RecipeConfig) -> None:
    """UserError where phases do not fit together: the policy and an environment."""
    new, released = config.sft.policy.new, config.sft.policy.released
    if config.sft.policy.path is not None or released != ReleasedConfig():
        return  # known once it is loaded
    made_in = config.collect.env.spec
    policy = PlannedShape(
        cameras=new.cameras,
        image_size=new.image_size,
        chunk=new.chunk,
        action_size=made_in.action_size,
        state_size=made_in.state_size if new.use_state else 0,
    )
    for env in (config.collect.env, config.train.env, config.eval.env):
        check_fits(policy, env, otherwise="give another --sft.policy.new, or the same env to all")


def in_recipe(message: str, config: RecipeConfig, phase: str = "") -> str:
    """What a phase says to the user, with its flags as the recipe's command line has them."""
    parts = {field.name: getattr(config, field.name) for field in fields(config)}
    phases = {name: part for name, part in parts.items() if is_dataclass(part)}

    def spelled(found: re.Match[str]) -> str:
        names = [name for name in found[1].replace("-", "_").split(".") if name]
        owners = [name for name, part in phases.items() if _has(part, names)]
        if names[0] in parts or not owners:
            return found[0]
        if phase in owners and names[0] != "env":  # the environment is everybody's
            owners = [phase]
        return " and ".join(f"--{owner}.{found[1]}" for owner in owners)

    return re.sub(r"--([a-z][\w.-]*)", spelled, message)


def _has(part: Any, names: list[str]) -> bool:
    """Whether a config has a field, below fields; members of a mix have names of their own."""
    for name in names:
        if not hasattr(part, name):
            return False
        if name == "members":
            return True
        part = getattr(part, name)
    return True


def write_json(path: Path, content: Any) -> None:
    """Writes a value so that people can read it too; a killed process leaves the old file."""
    aside = path.with_suffix(".aside")
    aside.write_text(json.dumps(content, indent=2) + "\n")
    aside.replace(path)
