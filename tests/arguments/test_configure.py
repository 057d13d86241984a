"""Presets, files of --config, parts by name and flags: which settings a command gets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pushcut.algorithms.ppo import PPO
from pushcut.arguments.configure import configure
from pushcut.arguments.usage import UsageError
from pushcut.config import EvalConfig, QuickstartConfig, SFTConfig, TrainConfig
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.policies.source import FlowPolicySource, TokenPolicySource
from pushcut.presets import PRESETS
from pushcut.runs.config_json import to_json, to_yaml

SMOKE = PRESETS["smoke"]


def train(*arguments: str) -> TrainConfig:
    return configure("train", list(arguments), TrainConfig)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """A file of --config, and the folder in which commands are typed."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine.yaml"


def refusal(file: Path, text: str) -> str:
    """What is said of a file over the preset smoke, after its name."""
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        train("smoke", "--config", file.name)
    start = "--config mine.yaml: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_a_preset_then_the_file_then_the_flags(file):
    file.write_text("learner: {lr: 1e-5, epochs: 3}\nalgorithm:\n  group_size: 4\n")
    for order in (["smoke", "--config", "mine.yaml"], ["--config=mine.yaml", "smoke"]):
        config = train(*order, "--learner.epochs", "5")
        assert (config.learner.lr, config.learner.epochs) == (1e-5, 5)
        assert config.algorithm == replace(SMOKE.train.algorithm, group_size=4)
        assert config.env == SMOKE.train.env


def test_without_a_preset_the_rest_has_its_defaults(file):
    file.write_text("env: {type: PointMassConfig}\nseed: 3\n")
    assert train("--config", "mine.yaml") == TrainConfig(PointMassConfig(), seed=3)


def test_a_part_of_another_type_stands_alone(file):
    file.write_text("algorithm: {type: PPO}")
    assert train("smoke", "--config", "mine.yaml").algorithm == PPO()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learner: {rate: 1}", "unknown field learner.rate; LearnerConfig has lr, betas, "),
        ("seeds: 1", "unknown field seeds; TrainConfig has env, "),
        ("learner: {lr: fast}", "learner.lr: must be a number, got 'fast'"),
        ("learner: 3", "learner: must be a group of fields, got 3"),
        ("iterations: 2.5", "iterations: must be a whole number, got 2.5"),
        ("iterations: true", "iterations: must be a whole number, got True"),
        ("overlap: 1", "overlap: must be true or false, got 1"),
        ("out: 3", "out: must be a path, got 3"),
        ("device: gpu", "device: must be one of auto, cpu, cuda, got 'gpu'"),
        ("tasks: red", "tasks: must be a list, got 'red'"),
        ("tasks: [1]", "tasks: must be text, got 1"),
        ("learner: {betas: [0.9]}", "learner.betas: must be 2 values, got [0.9]"),
        ("algorithm: {type: SAC}", "algorithm: type 'SAC' is unknown; have GRPO, PPO; "),
        ("algorithm: {group_size: 1}", "algorithm: group_size must be >= 2, got 1"),
        ("policy: {type: GRPO}", "policy: type 'GRPO' is unknown; have FlowPolicySource, "),
        ("type: SFTConfig", "is a SFTConfig; `pushcut train` wants a TrainConfig"),
        ("eval: {first: 3}", "has nothing for `pushcut train`, only eval"),
        ("train: {seed: 1}\nseed: 3", "has sections; put seed into one of them"),
        ("", "holds no fields: write `field: value` lines"),
        ("a: [1", "no YAML or JSON: "),
    ],
)
def test_what_does_not_fit_is_named(file, text, said):
    assert refusal(file, text).startswith(said)


def test_a_file_that_cannot_be_read_is_named(file):
    file.write_bytes(b"\x00\xff\xfe\x80")
    with pytest.raises(UserError, match="--config mine.yaml: no YAML or JSON"):
        train("smoke", "--config", "mine.yaml")
    with pytest.raises(UserError, match="gone.yaml: No such file or directory"):
        train("smoke", "--config", "gone.yaml")
    for missing in (["--config"], ["--config", "--seed"]):
        with pytest.raises(UserError, match="--config needs a value"):
            train("smoke", *missing)


def test_a_run_begins_again_from_its_files_and_goes_on_without_a_preset(file, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    config = replace(SMOKE.train, seed=7, out=run)
    stored = {"config": to_json(config), "command": ["pushcut", "train", "smoke"], "plugins": []}
    (run / "config.json").write_text(json.dumps(stored))
    (run / "config.yaml").write_text(to_yaml(to_json(config)))
    for given in ("run", "run/config.json", "run/config.yaml"):
        assert train("--config", given, "--out", "again") == replace(config, out=Path("again"))
    resumed = train("--resume", "--out", str(run))
    assert resumed == replace(config, resume=True)


@pytest.mark.parametrize(
    "command",
    [
        ["pushcut", "train", "smoke"],
        ["pushcut", "--plugin", "x.py", "train", "smoke"],
        ["pushcut", "train", "--plugin=x.py", "smoke"],
        ["pushcut", "--debug", "train", "--config", "a.yaml", "smoke"],
    ],
)
def test_a_run_remembers_its_preset_however_it_was_typed(file, tmp_path, command):
    config = replace(SMOKE.train, seed=7)
    stored = {"config": to_json(config), "command": command}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert train("smoke", "--resume", "--out", str(tmp_path)).seed == 7


def test_resume_of_what_has_not_begun_begins(file):
    config = configure(
        "quickstart", ["--resume", "--out", "new"], QuickstartConfig, default_preset="quickstart"
    )
    assert config == replace(PRESETS["quickstart"].quickstart, resume=True, out=Path("new"))
    with pytest.raises(UsageError, match="which preset?"):
        train("--resume", "--out", "new")


def test_a_run_says_which_plug_ins_it_was_made_with(file, tmp_path):
    stored = to_json(SMOKE.train) | {"algorithm": {"type": "Theirs"}}
    content = {"config": stored, "plugins": ["/lab/theirs.py"]}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"it was made with --plugin /lab/theirs.py$"):
        train("--config", str(tmp_path))


def test_parts_are_chosen_by_name():
    config = train("smoke", "--algorithm", "ppo", "--algorithm.episodes", "8", "--policy=flow")
    assert config.algorithm == PPO(episodes=8)
    assert config.policy == FlowPolicySource()
    everywhere = configure("quickstart", ["smoke", "--env", "metaworld"], QuickstartConfig)
    parts = (everywhere.collect, everywhere.train, everywhere.eval)
    assert {type(part.env).__name__ for part in parts} == {"MetaWorldConfig"}
    one = configure("quickstart", ["smoke", "--train.env", "metaworld"], QuickstartConfig)
    assert one.eval.env == SMOKE.eval.env
    assert type(one.train.env).__name__ == "MetaWorldConfig"


def test_a_part_keeps_what_was_set_in_every_part_of_its_kind():
    new = configure("sft", ["smoke", "--policy", "flow"], SFTConfig).policy.new
    assert type(new).__name__ == "FlowConfig"
    assert (new.cameras, new.image_size, new.chunk) == (("top",), 32, 2)
    assert train("smoke", "--policy", "tiny") == SMOKE.train
    # "expert" is the default of flows, and nothing that token policies have.
    assert train("metaworld-flow-grpo", "--policy", "tiny").policy == TokenPolicySource()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "metawrld"], "unknown environment 'metawrld'; did you mean 'metaworld'"),
        (["--env"], "--env needs a name; have bimanual, calvin, gymnasium"),
        (["--algorithm", "--seed"], "--algorithm needs a name; have grpo, ppo"),
        (["--env", "mixed"], "mixed needs values that have no default"),
        (["--policy", "nosuch"], "unknown policy 'nosuch'; have tiny, flow, "),
    ],
)
def test_a_part_that_cannot_be_chosen_is_told(arguments, said):
    with pytest.raises(UserError) as caught:
        train("smoke", *arguments)
    assert str(caught.value).startswith(said)


def test_a_released_policy_is_not_made_new():
    with pytest.raises(UserError, match="--policy pi0: such a policy is not made new"):
        configure("sft", ["smoke", "--policy", "pi0"], SFTConfig)
    eval_config = configure("eval", ["smoke", "--policy", "pi0"], EvalConfig)
    assert type(eval_config.policy) is FlowPolicySource
