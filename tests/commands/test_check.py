"""`pushcut check-env` and `check-policy`: good parts pass, a fault fails its own line."""

import os
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

from pushcut.cli import main
from pushcut.commands import check
from pushcut.commands.check import (
    CheckPolicyConfig,
    check_policy,
    run_check_env,
    run_check_policy,
)
from pushcut.envs.contract import PROMISES
from pushcut.envs.isolated.remote import RemoteEnv
from pushcut.envs.maniskill.env import ManiSkillConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.policies.contract import PROMISES as POLICY_PROMISES
from pushcut.policies.small.flow_vla import FlowConfig
from pushcut.policies.small.token_vla import TinyConfig
from pushcut.policies.source import FlowPolicySource, TokenPolicySource
from pushcut.presets import PRESETS
from pushcut.types import InitState
from tests.commands.broken import BrokenConfig, BrokenPolicy
from tests.envs.mixed.members import MIX
from tests.policies.builders import tiny
from tests.policies.released.builders import READINGS, SOURCES


@pytest.fixture(autouse=True)
def measured_for_no_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check, "MEASURED_S", 0.0)


def failed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("FAILED")]


def test_a_good_environment_keeps_all_promises_and_is_measured(capsys):
    assert run_check_env(BrokenConfig()) == 0
    text = capsys.readouterr().out
    assert text.startswith("BrokenConfig: 2 tasks, cameras top 48x48, state 2, action 2")
    assert sum(line.startswith("ok ") for line in text.splitlines()) == len(PROMISES) == 19
    assert "BrokenConfig keeps its 19 promises" in text.splitlines()[-1]
    assert "expert: succeeds in 5 of 5 initial states" in text
    for measured in ("control steps per second", "an observation in", "kB for each episode"):
        assert measured in text


FAULTS = {
    "velocity": ("A restored snapshot continues exactly", "expected the same future from a"),
    "dtype": ("An observation has the shapes", "a state of float64 [1, 2], the environment says"),
    "plain": ("Every camera shows something", "found one plain colour, [1, 1, 1]"),
    "size": ("An image for people has the size", "found uint8 [192, 192, 3]"),
    "spec": ("The spec is known before", "expected control_hz 10.0 as the config says; found 5.0"),
    "unknown task": ("An unknown task is a KeyError", "found no error"),
    "seed": ("An initial state is the same", "expected the same episode of InitState("),
    "looking": ("A chunk is its steps", "observe() and render() must change nothing"),
    "nan reward": ("A chunk's result is possible", "found rewards [nan, nan, nan, nan, nan] for"),
    "beyond": ("An action beyond the bounds", "clip the actions in step_chunk"),
    "limit": ("The time limit truncates", "found 20 steps (20 of the simulator), truncated=False"),
    "reward": ("The reward is the outcome", "found 0.5 in step 0"),
    "no reward": ("Success ends the chunk", "expected reward 1 in the step that solves the task"),
    "success": ("Success ends the chunk", "terminated=False, truncated=True"),
    "unnamed expert": (
        "The config names the tasks",
        "expected NotImplementedError; found an action",
    ),
    "expert": ("Success ends the chunk", "or let it raise NotImplementedError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_environment_fails_the_line_of_its_fault(fault, capsys):
    assert run_check_env(BrokenConfig(fault=fault)) == 1
    text = capsys.readouterr().out
    (line,) = failed(text)
    sentence, reason = FAULTS[fault]
    assert f" s  {sentence}" in line
    assert reason in line
    assert "To mend it: " in line
    assert "BrokenConfig breaks 1 of 19 promises" in text.splitlines()[-1]


def test_what_stands_on_a_broken_promise_is_skipped(capsys):
    run_check_env(BrokenConfig(fault="velocity"))
    text = capsys.readouterr().out
    skipped = [line for line in text.splitlines() if line.startswith("skipped")]
    broken = "it stands on a promise that is broken: a restored snapshot continues exactly"
    assert [line.partition(": ")[2] for line in skipped] == [broken] * 2
    assert "Episodes that take turns" in skipped[0]
    assert "A worker process" in skipped[1]


def test_a_config_that_does_not_pickle_is_told(capsys):
    assert run_check_env(BrokenConfig(note=lambda: 0)) == 1
    (line,) = failed(capsys.readouterr().out)
    assert "The config pickles" in line
    assert "make it a frozen dataclass at the top of a module that can be imported" in line


def test_an_environment_that_only_works_in_this_process_is_told(capsys):
    assert run_check_env(BrokenConfig(fault="another process", note=os.getpid())) == 1
    (line,) = failed(capsys.readouterr().out)
    assert "A worker process builds the environment" in line
    assert "no licence for a second process" in line


def test_a_module_that_workers_cannot_import_is_told(capsys, monkeypatch: pytest.MonkeyPatch):
    module = types.ModuleType("my_robot")
    source = "from tests.commands.broken import BrokenConfig\nclass Mine(BrokenConfig): pass"
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "my_robot", module)
    assert run_check_env(module.Mine()) == 1
    (line,) = failed(capsys.readouterr().out)
    assert "cannot start Mine: ModuleNotFoundError: No module named 'my_robot'" in line
    assert "importable in a fresh Python" in line


def test_an_environment_that_cannot_be_built_is_told_with_the_place(capsys):
    assert run_check_env(BrokenConfig(fault="build")) == 1
    (line,) = failed(capsys.readouterr().out)
    assert "The environment can be built: raised FileNotFoundError: robot.xml" in line
    assert "broken.py, line " in line


def test_members_of_a_mix_have_time_limits_of_their_own(capsys):
    # Limits of 24 and 16 steps; the first and the last task are those that are looked at.
    assert run_check_env(MIX) == 0
    assert run_check_env(replace(MIX, members=MIX.members[::-1])) == 0
    assert "MixedConfig keeps its 19 promises" in capsys.readouterr().out


def test_members_are_checked_one_by_one_where_one_is_isolated(
    capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(check, "is_isolated", lambda part: part.member.name == "flat")
    assert run_check_env(MIX) == 0
    text = capsys.readouterr().out
    assert "tall (TallConfig) keeps its 19 promises" in text
    assert "flat (PointMassConfig) keeps its 19 promises" in text


def test_a_simulator_that_is_not_installed_is_told_with_the_command(
    capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PUSHCUT_SIMS", str(tmp_path))
    assert run_check_env(ManiSkillConfig()) == 1
    (line,) = failed(capsys.readouterr().out)
    assert "pushcut sims install maniskill" in line


def test_without_an_expert_the_promises_about_it_are_skipped(capsys):
    assert run_check_env(BrokenConfig(fault="no expert")) == 0
    text = capsys.readouterr().out
    assert "no scripted expert that could show a success" in text
    assert "expert: none: demonstrations must come from elsewhere" in text
    assert "BrokenConfig keeps its 18 promises, 1 skipped" in text


def test_the_environment_and_the_policy_of_a_preset_keep_their_promises(capsys):
    assert main(["check-env", "smoke", "--env.max-steps", "15", "--expert-episodes", "2"]) == 0
    text = capsys.readouterr().out
    assert "at most 15 steps" in text
    assert "succeeds in 2 of 2 initial states" in text
    assert main(["check-policy", "smoke"]) == 0
    assert "TinyPolicy keeps its 11 promises" in capsys.readouterr().out


POLICY_FAULTS = {
    "trace": ("Samples and evaluations have the shapes", "8 rows of 'step' in the trace"),
    "ratio": ("The log-ratio is zero", "expected a log-ratio of at most 0; found 0.25"),
    "noise": ("Samples follow the noise", "expected the same sampled actions for the same noise"),
    "no noise": ("Samples follow the noise", "reinforcement learning compares actions"),
    "batch": ("A row depends neither", "expected the same actions for a row among other rows"),
    "bounds": ("Actions lie within", "expected actions within [-1.0, -2.0, 0.0] and [1.0, 2.0"),
    "save": ("A saved policy acts the same", "expected the same greedy actions after"),
    "gradient": ("Gradients of the log-probability", "found a logprob without gradient"),
    "critic": ("A critic gives each row a value", "values that differ by at most 2e-05; found 1"),
    "valid": ("The behaviour-cloning loss does not see", "whatever stands in steps that are not"),
    "constant": ("A few steps of behaviour cloning lower", "a lower loss after 10 steps of Adam"),
}


def broken_policy(fault: str) -> BrokenPolicy:
    policy = tiny()
    policy.__class__ = BrokenPolicy
    assert isinstance(policy, BrokenPolicy)
    policy.fault = fault
    return policy


@pytest.mark.parametrize("fault", POLICY_FAULTS)
def test_a_broken_policy_fails_the_line_of_its_fault(fault, capsys):
    assert check_policy(broken_policy(fault)) == 1
    text = capsys.readouterr().out
    (line,) = failed(text)
    sentence, reason = POLICY_FAULTS[fault]
    assert f" s  {sentence}" in line
    assert reason in line
    assert "BrokenPolicy breaks 1 of 11 promises" in text.splitlines()[-1]


def test_a_good_policy_keeps_all_promises(capsys):
    assert check_policy(broken_policy("")) == 0
    text = capsys.readouterr().out
    assert text.startswith("BrokenPolicy: cameras top of 32 pixels, state 2, chunks of 4 actions")
    assert sum(line.startswith("ok ") for line in text.splitlines()) == len(POLICY_PROMISES) == 11


TINY = TinyConfig(cameras=("top",), image_size=32, width=32, depth=2, heads=2, chunk=4, bins=16)
FLOW = FlowConfig(
    cameras=("top",), image_size=32, width=32, depth=2, heads=2, chunk=4, expert_width=24
)


@pytest.mark.parametrize(
    ("source", "new", "said"),
    [
        (TokenPolicySource(), TINY, "(at most 0, allowed 0)"),
        (TokenPolicySource(), replace(TINY, use_state=False), "state 0, chunks of 4"),
        (TokenPolicySource(trained="lora"), TINY, "Gradients"),
        (FlowPolicySource(), FLOW, "allowed 2e-05)"),
        (
            FlowPolicySource(noise="flow-noise", num_steps=3),
            FLOW,
            "FlowPolicy keeps its 11 promises",
        ),
    ],
)
def test_a_new_policy_is_made_with_random_statistics(source, new, said, capsys):
    config = CheckPolicyConfig(source, new, state_size=5, action_size=3, device="cpu")
    assert run_check_policy(config) == 0
    text = capsys.readouterr().out
    assert said in text
    assert "chunks of 4 actions of 3 numbers" in text


def test_a_policy_folder_says_itself_what_it_looks_at(tmp_path: Path, capsys):
    tiny().save_pretrained(tmp_path)
    config = CheckPolicyConfig(TokenPolicySource(path=tmp_path), state_size=99, device="cpu")
    assert run_check_policy(config) == 0
    assert "TinyPolicy: cameras top of 32 pixels, state 2" in capsys.readouterr().out


@pytest.mark.heavy
def test_a_released_vla_in_bfloat16_is_read_again_as_it_was_read(tmp_path: Path, capsys):
    source = SOURCES["openvla-lora"](tmp_path / "a", READINGS["bfloat16"])
    assert run_check_policy(CheckPolicyConfig(source, device="cpu")) == 0
    text = capsys.readouterr().out
    assert "keeps its 10 promises, 1 skipped" in text
    assert "this kind of policy promises no bounds: environments clip" in text
    assert "allowed 0.02)" in text


def test_a_released_model_needs_its_folder():
    preset = PRESETS["libero-spatial-pi0-flow-sde"]
    with pytest.raises(UserError, match=r"give --policy.path FOLDER"):
        run_check_policy(CheckPolicyConfig.of(preset))


def test_an_environment_in_another_interpreter_is_the_one_here():
    config, init = PointMassConfig(), InitState("reach-red", 1)
    here, there = config.build(), RemoteEnv(config, Path(sys.executable))
    try:
        for env in (here, there):
            env.reset(init)
        assert there.observe().state.tolist() == here.observe().state.tolist()
        with pytest.raises(KeyError, match="unknown task 'none'"):
            there.reset(replace(init, task="none"))
    finally:
        there.close()
