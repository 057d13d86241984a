"""What `pushcut presets`, `schema`, `diff` and `completion` say of every preset."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pushcut.arguments.configure import configure
from pushcut.cli import COMMANDS as OF_CLI
from pushcut.commands.completion import run_completion
from pushcut.commands.diff import run_diff
from pushcut.commands.presets import COMMANDS, description, run_presets, yaml_of
from pushcut.commands.schema import CONFIGS, schema_of
from pushcut.config import QuickstartConfig
from pushcut.errors import UserError
from pushcut.presets import PRESETS
from pushcut.runs.config_json import to_json, to_yaml

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validators():
    schemas = {command: schema_of(command) for command in CONFIGS}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    return {name: jsonschema.Draft202012Validator(schema) for name, schema in schemas.items()}


@pytest.mark.parametrize("name", PRESETS)
def test_the_yaml_of_a_preset_is_the_preset_and_fits_the_schemas(tmp_path, validators, name):
    file, preset = tmp_path / "preset.yaml", PRESETS[name]
    file.write_text(yaml_of(name))
    sections = yaml.safe_load(file.read_text())
    for command in COMMANDS:
        given = configure(command, ["--config", str(file)], CONFIGS[command])
        assert given == getattr(preset, command)
        validators[command].validate(sections)
        validators[command].validate(sections[command])
    whole = configure("quickstart", ["--config", str(file)], QuickstartConfig)
    assert whole == preset.quickstart


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 1},
        {"learner": {"rate": 1}},
        {"env": {"type": "PointMassConfig", "colour": 1}},
        {"env": {"type": "PartConfig"}},
        {"algorithm": {"type": "SAC"}},
        {"iterations": "3"},
        {"train": {}, "seed": 3},
    ],
)
def test_the_schema_refuses_what_config_refuses(validators, wrong):
    assert not validators["train"].is_valid(wrong)


def test_the_schema_takes_a_few_fields(validators):
    validators["train"].validate({"learner": {"lr": 1e-5}, "env": {"max_steps": 9}})


@pytest.mark.parametrize("name", PRESETS)
def test_the_description_of_a_preset_is_a_table(name):
    header, *rows = description(name).split("\n\n")[1].splitlines()
    source = header.index("source")
    assert rows
    assert all(row[source - 2 : source] == "  " and row[source:].strip() for row in rows)


def test_settings_and_their_sources():
    text = description("libero-goal-pi05-flow-sde")
    rows = [line.split() for line in text.splitlines()]
    assert ["train.env.max_steps", "320", "240", "pi_RL,", "table", "11"] in rows
    assert ["sft.fit.lr", "2.5e-05", "0.001", "openpi's", "fine-tuning"] in rows
    assert "train.env.members                metaworld maniskill" in description("mixed-grpo")


def test_the_name_of_an_environment_has_yaml_too(capsys):
    run_presets(("point-mass",), yaml=True)
    assert yaml.safe_load(capsys.readouterr().out)["train"]["env"]["type"] == "PointMassConfig"
    with pytest.raises(UserError, match="whose YAML"):
        run_presets(("nosuch",), yaml=True)


def test_two_runs_are_compared_by_setting_and_by_where_they_came_from(tmp_path):
    config = PRESETS["smoke"].train
    for name, seed, torch in (("a", 1, "2.8"), ("b", 2, "2.9")):
        stored = to_json(replace(config, seed=seed))
        facts = {"pushcut": "0.1.0", "plugins": [], "versions": {"torch": torch}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"config": stored, **facts}))
    (tmp_path / "a.yaml").write_text(to_yaml(to_json(replace(config, seed=1))))
    a, b = tmp_path / "a", tmp_path / "b"
    lines = [line.split() for line in run_diff(a, b).splitlines()]
    assert lines == [
        ["setting", str(a), str(b)],
        ["seed", "1", "2"],
        ["versions.torch", "2.8", "2.9"],
    ]
    assert run_diff(a, a) == f"{a} and {a} have the same settings\n"
    assert "seed" not in run_diff(tmp_path / "a.yaml", a)
    with pytest.raises(UserError, match="gone: .*No such file"):
        run_diff(a, tmp_path / "gone")


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("shell") / "pushcut.bash"
    file.write_text(run_completion(tuple(OF_CLI), "bash"))
    return file


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["tr"], ["train"]),
        (["train", "smo"], ["smoke"]),
        (["train", "point"], ["point-mass"]),
        (["train", "smoke", "--dev"], ["--device"]),
        (["train", "smoke", "--device", ""], ["auto", "cpu", "cuda"]),
        (["train", "smoke", "--algorithm", ""], ["grpo", "ppo"]),
        (["train", "smoke", "--env", "point"], ["point-mass"]),
        (["train", "smoke", "--config", "mi"], ["mine.yaml"]),
        (["eval", "smoke", "--plugin", "mi"], ["mine.yaml"]),
        (["schema", "tr"], ["train"]),
        (["sims", ""], ["list", "install", "remove"]),
        (["doctor", "smoke", "--policy.pa"], ["--policy.path"]),
    ],
)
def test_bash_completes(script, tmp_path, words, found):
    (tmp_path / "mine.yaml").touch()
    typed = " ".join(f"'{word}'" for word in ["pushcut", *words])
    lines = [
        f"source {script}",
        f"COMP_WORDS=({typed}); COMP_CWORD={len(words)}; COMPREPLY=()",
        "_shtab_pushcut; printf '%s\\n' \"${COMPREPLY[@]}\"",
    ]
    command = ["bash", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == found, done.stderr
