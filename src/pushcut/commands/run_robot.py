"""`pushcut run-robot`: trials of a served policy on a robot, counted, recorded, resumable."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushcut.commands.run_robot_config import MAY_CHANGE, RunRobotConfig
from pushcut.commands.serve import check_packages, token_in
from pushcut.errors import UserError
from pushcut.robot.base import Held, Judging, Robot, RobotSpec
from pushcut.robot.limits import Limits
from pushcut.robot.operator import Operator
from pushcut.robot.session import Session, play_session
from pushcut.runs.lock import alone_in_folder
from pushcut.runs.run import Run
from pushcut.system.progress import say

if TYPE_CHECKING:
    from pushcut.client import ActionLoop, RemotePolicy
    from pushcut.robot.terms import Terms
    from pushcut.robot.trial import LastSeen

CONTRACT = "contract.json"
"""What the server said of its policy when the session began."""
NOT_BINDING = ("pushcut", "message_bytes")
"""What of it may change while a session goes on."""


@alone_in_folder
def run_robot(config: RunRobotConfig) -> Path:
    """Plays the trials that are left, then writes dataset, result and table; the folder."""
    check_packages()
    if config.out is None:
        raise UserError("where should the session go? give --out runs/NAME")
    if not config.resume:
        Run.check_free(config.out)
    if config.dead_man == "key" and not sys.stdin.isatty():
        raise UserError(
            "--dead-man key needs a terminal whose keys can be held: run it in one, or give "
            "--dead-man robot or none"
        )
    with ExitStack() as opened:
        policy = opened.enter_context(connected(config))
        robot = config.robot.build()
        opened.callback(robot.close)
        play(config, config.out, policy, robot)
    return config.out


def play(config: RunRobotConfig, out: Path, policy: RemotePolicy, robot: Robot) -> None:
    """The session, once policy and robot are there: nothing was written before."""
    from pushcut.commands.run_robot_results import finish
    from pushcut.robot.terms import Terms  # it needs the packages of the client
    from pushcut.robot.trial import LastSeen, Rules

    check_robot(config, robot)
    spec, last = robot.spec, LastSeen()
    terms = Terms.of(policy.metadata, spec, cameras=config.renamed, rate_hz=config.rate_hz)
    session = Session(out, tasks_of(config, spec, terms), config.trials)
    limits = Limits(config.limits, spec, terms.rate_hz)
    loop = loop_of(config, policy, terms, partial(still, robot, last))
    try:
        judge = robot.judge if config.success == "robot" and isinstance(robot, Judging) else unknown
        rules = Rules(
            robot, terms, loop, limits, last, switch_of(config, robot), judge, config.max_s,
            config.patience_s,
        )  # fmt: skip
        with folder_of(config, out, policy.metadata):
            asks, holds = config.success == "ask", config.dead_man != "none"
            play_session(session, rules, Operator(asks=asks, holds=holds))
            finish(session, terms, spec, policy.metadata)
    finally:
        loop.close()


def connected(config: RunRobotConfig) -> RemotePolicy:
    """A connection to the server; UserError where there is none."""
    from pushcut.client import RemotePolicy

    token = token_in(config.token_file) if config.token_file else None
    name = config.name or None
    return RemotePolicy(config.server, token=token, name=name, wait_s=config.wait_s)


def check_robot(config: RunRobotConfig, robot: Robot) -> None:
    """UserError where the robot cannot do what the settings ask of it."""
    kind = type(config.robot).__name__
    if config.success == "robot" and not isinstance(robot, Judging):
        raise UserError(f"{kind} has no judge(): give --success ask, and say it yourself")
    if config.dead_man == "robot" and not isinstance(robot, Held):
        raise UserError(f"{kind} has no held(): give --dead-man key, and hold a key")


def tasks_of(config: RunRobotConfig, spec: RobotSpec, terms: Terms) -> dict[str, str]:
    """Task -> instruction, in the policy's own words where it remembers them."""
    known = {**spec.tasks, **terms.prompts}
    wanted = config.tasks or tuple(spec.tasks) or tuple(terms.prompts)
    found = {}
    for text in wanted:
        name, is_told, sentence = text.partition("=")
        if not is_told and name not in known:
            have = ", ".join(known) or "none"
            raise UserError(f"task {name!r} has no sentence: --tasks {name}='...' (known: {have})")
        found[name] = sentence if is_told else known[name]
    if not found or not all(map(str.strip, found.values())):
        raise UserError("which task? neither robot nor policy names one: --tasks NAME='SENTENCE'")
    return found


def loop_of(
    config: RunRobotConfig, policy: RemotePolicy, terms: Terms, safe: Callable[[Any], Any]
) -> ActionLoop:
    """The control loop's side of the client, with its watchdog."""
    from pushcut.client import ActionLoop
    from pushcut.robot.terms import InRobotsOrder

    # Averages need chunks that overlap.
    execute = config.execute or (None if config.decay is None else max(1, terms.chunk // 2))
    return ActionLoop(
        InRobotsOrder(policy, terms),
        rate_hz=terms.rate_hz,
        safe_action=safe,
        execute=execute,
        decay=config.decay,
        stale_s=config.stale_s or max(terms.chunk, (execute or 0) + 1) / terms.rate_hz,
    )


def still(robot: Robot, last: LastSeen, message: Mapping[str, Any]) -> Any:
    """The safe action: stay where the robot was last seen."""
    del message
    assert last.seen is not None, "it is asked for after an observation"
    return robot.still(last.seen)


def switch_of(
    config: RunRobotConfig, robot: Robot
) -> Callable[[], AbstractContextManager[Callable[[], bool]]]:
    """What opens the dead-man switch for a trial."""
    if config.dead_man == "key":
        from pushcut.robot.held_key import HeldKey  # of terminals, which not every system has

        return partial(HeldKey, sys.stdin.fileno(), grace_s=config.grace_s)
    if config.dead_man == "robot":
        assert isinstance(robot, Held), "it has been checked"
        return partial(nullcontext, robot.held)
    return partial(nullcontext, always)


def always() -> bool:
    """Stands for a switch where there is none."""
    return True


def unknown() -> None:
    """Stands for a robot's verdict where the operator judges."""


def folder_of(config: RunRobotConfig, out: Path, metadata: Mapping[str, Any]) -> Run:
    """The session's folder, new or as it was left; UserError where it is another session's."""
    file, told = out / CONTRACT, {x: metadata[x] for x in metadata if x not in NOT_BINDING}
    if not config.resume:
        run = Run.create(out, config)
        file.write_text(json.dumps(told, indent=2) + "\n")
        return run
    run = Run.resume(out, config, (), first=0, may_change=MAY_CHANGE)
    if file.is_file() and json.loads(file.read_text()) != json.loads(json.dumps(told)):
        raise UserError(
            f"the server has another policy than that of {file}: serve the same one, or begin a "
            "new session with --out"
        )
    say(f"{out} goes on")
    return run
