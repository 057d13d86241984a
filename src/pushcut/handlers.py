"""What each command of the command line does with its arguments; all is imported late."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pushcut.arguments.configure import (
    configure,
    named_preset,
    preset_in,
    preset_of_checkpoint,
    spelled,
)
from pushcut.arguments.fields import call, fields_from
from pushcut.arguments.usage import UsageError

Arguments = list[str]


def _collect(rest: Arguments) -> None:
    from pushcut.commands.collect import run_collect
    from pushcut.config import CollectConfig

    run_collect(configure("collect", rest, CollectConfig))


def _record(rest: Arguments) -> None:
    from pushcut.commands.record import RecordConfig, run_record

    rest = preset_of_checkpoint(rest)
    run_record(configure("record", rest, RecordConfig, config_of=RecordConfig.of))


def _sft(rest: Arguments) -> None:
    from pushcut.commands.sft import run_sft
    from pushcut.config import SFTConfig
    from pushcut.envs.base import EnvConfig
    from pushcut.presets import Preset
    from pushcut.system.progress import say

    envs: list[EnvConfig] = []

    def part_of(preset: Preset) -> SFTConfig:
        envs.extend((preset.train.env, preset.eval.env))
        return preset.sft

    if sum(word.partition("=")[0] == "--dataset" for word in rest) > 1:
        raise UsageError("name all datasets after one flag: --dataset A B")
    config = configure("sft", rest, SFTConfig, config_of=part_of)
    say(f"policy: {run_sft(config, envs)}")


def _train(rest: Arguments) -> None:
    from pushcut.assembly import train
    from pushcut.config import TrainConfig
    from pushcut.system.progress import say

    run = train(configure("train", rest, TrainConfig))
    say(f"run: {run.path}; `pushcut report {run.path}` draws its curves")


def _eval(rest: Arguments) -> None:
    from pushcut.commands.evaluate import run_eval
    from pushcut.config import EvalConfig

    run_eval(configure("eval", rest, EvalConfig))


def _expert(rest: Arguments) -> None:
    from pushcut.commands.expert import ExpertConfig, run_expert_command

    kind = ExpertConfig
    run_expert_command(configure("expert", rest, kind, config_of=kind.of))


def _quickstart(rest: Arguments) -> None:
    from pushcut.commands.quickstart import run_quickstart
    from pushcut.config import QuickstartConfig

    run_quickstart(configure("quickstart", rest, QuickstartConfig, default_preset="quickstart"))


def _protocol(command: str, rest: Arguments) -> None:
    from pushcut.commands.protocols import STUDIES

    study = STUDIES[command]
    study.run(configure(command, rest, study.kind, config_of=study.kind.of))


def _ood(rest: Arguments) -> None:
    from pushcut.commands.ood import OODConfig, run_ood

    rest = preset_of_checkpoint(rest)
    run_ood(configure("ood", rest, OODConfig, config_of=OODConfig.of))


def _robustness(rest: Arguments) -> None:
    from pushcut.commands.robustness import RobustnessConfig, run_robustness

    kind = RobustnessConfig
    rest = preset_of_checkpoint(rest)
    run_robustness(configure("robustness", rest, kind, config_of=kind.of))


def _serve(rest: Arguments) -> None:
    from pushcut.arguments.configure import of_checkpoint
    from pushcut.commands.serve import run_serve
    from pushcut.commands.serve_config import ServeConfig

    run_serve(*of_checkpoint("serve", rest, ServeConfig))


def _contract(rest: Arguments) -> int:
    from pushcut.arguments.configure import of_checkpoint
    from pushcut.commands import contract

    if rest[:1] != ["check"]:
        contract.run_contract(*of_checkpoint("contract", rest, contract.ContractConfig))
        return 0
    rest = rest[1:]
    if len(rest) > 1 and not rest[1].startswith("-"):
        rest.insert(1, "--dataset")
    kind = contract.ContractCheckConfig
    return contract.run_contract_check(*of_checkpoint("contract check", rest, kind))


def _run_robot(rest: Arguments) -> None:
    from pushcut.arguments.configure import of_robot
    from pushcut.commands.run_robot import run_robot
    from pushcut.commands.run_robot_config import RunRobotConfig

    run_robot(of_robot("run-robot", rest, RunRobotConfig))


def _report(rest: Arguments) -> None:
    if not rest:
        raise UsageError("usage: pushcut report RUN [RUN ...]")
    from pushcut.commands.report import run_report

    print(call("report", run_report, rest))


def _watch(rest: Arguments) -> None:
    if not rest:
        raise UsageError("usage: pushcut watch RUN [RUN ...]")
    from pushcut.commands.watch import run_watch

    call("watch", run_watch, rest)


def _export(rest: Arguments) -> None:
    from pushcut.commands.export import run_export

    print(f"policy: {call('export', run_export, rest)}")


def _table(rest: Arguments) -> None:
    from pushcut.commands.table import run_table

    print(call("table", run_table, rest), end="")


def _analyse(rest: Arguments) -> None:
    from pushcut.commands.analyse import run_analyse

    print(call("analyse", run_analyse, rest))


def _film(rest: Arguments) -> None:
    from pushcut.commands.film import run_film

    print(call("film", run_film, rest))


def _plan(rest: Arguments) -> None:
    from pushcut.commands.plan import PlanConfig, of_the_phase, run_plan

    rest = of_the_phase(rest)
    print(run_plan(configure("plan", rest, PlanConfig, config_of=PlanConfig.of)))


def _doctor(rest: Arguments) -> int:
    from pushcut.commands.doctor import DoctorConfig, doctor

    config = DoctorConfig()
    name, rest = preset_in(spelled(config, rest))
    if name is not None:
        named_preset(name)
    return doctor(fields_from("doctor [PRESET]", config, rest), name)


def _policies(rest: Arguments) -> None:
    from pushcut.commands.policies import run_policies

    call("policies", run_policies, rest)


def _presets(rest: Arguments) -> None:
    from pushcut.commands.presets import run_presets

    call("presets", run_presets, rest)


def _diff(rest: Arguments) -> None:
    from pushcut.commands.diff import run_diff

    print(call("diff", run_diff, rest), end="")


def _schema(rest: Arguments) -> None:
    if not rest:
        raise UsageError("which config? pushcut schema COMMAND")
    from pushcut.commands.schema import run_schema

    print(call("schema", run_schema, rest))


def _completion(rest: Arguments) -> None:
    if not rest:
        raise UsageError("which shell? pushcut completion bash|zsh|tcsh")
    from pushcut.commands.completion import run_completion

    print(call("completion", partial(run_completion, tuple(COMMANDS)), rest))


def _check_env(rest: Arguments) -> int:
    from pushcut.commands.check import CheckEnvConfig, run_check_env

    kind = CheckEnvConfig
    config = configure("check-env", rest, kind, config_of=kind.of)
    return run_check_env(config.env, expert_episodes=config.expert_episodes)


def _check_policy(rest: Arguments) -> int:
    from pushcut.commands.check import CheckPolicyConfig, run_check_policy

    kind = CheckPolicyConfig
    return run_check_policy(configure("check-policy", rest, kind, config_of=kind.of))


def _sims(rest: Arguments) -> None:
    from pushcut.commands import sims

    actions = {"list": sims.list_simulators, "install": sims.install, "remove": sims.remove}
    call("sims", actions, rest)


COMMANDS: dict[str, Callable[[Arguments], int | None]] = {
    "quickstart": _quickstart,
    "collect": _collect,
    "record": _record,
    "sft": _sft,
    "train": _train,
    "eval": _eval,
    "expert": _expert,
    "generalisation": partial(_protocol, "generalisation"),
    "ood": _ood,
    "robustness": _robustness,
    "data-scarcity": partial(_protocol, "data-scarcity"),
    "failure-modes": partial(_protocol, "failure-modes"),
    "serve": _serve,
    "contract": _contract,
    "run-robot": _run_robot,
    "report": _report,
    "watch": _watch,
    "export": _export,
    "table": _table,
    "analyse": _analyse,
    "film": _film,
    "plan": _plan,
    "presets": _presets,
    "policies": _policies,
    "diff": _diff,
    "schema": _schema,
    "completion": _completion,
    "doctor": _doctor,
    "check-env": _check_env,
    "check-policy": _check_policy,
    "sims": _sims,
}
"""Name of a command -> what it does; it may return an exit code."""
