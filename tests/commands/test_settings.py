"""What there is to set: presets, differences, schemas, and what a shell completes."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from pushcut.cli import COMMANDS, main
from pushcut.presets import PRESETS


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_presets_with_words_are_listed_alone(capsys):
    lines = printed(capsys, "presets", "libero", "long").splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names[:3] == ["libero-long", "libero-long-flow", "libero-long-openvla-oft"]
    assert len(names) == 7
    assert main(["presets", "aloha"]) == 1
    assert "no preset with 'aloha'" in capsys.readouterr().err


def test_presets_are_listed_with_what_they_are(capsys):
    text = printed(capsys, "presets")
    assert all(name in text and preset.summary in text for name, preset in PRESETS.items())


def test_a_preset_says_what_it_sets_and_where_its_numbers_are_from(capsys):
    text = printed(capsys, "presets", "libero-long-openvla-oft")
    assert text.startswith("libero-long-openvla-oft: OpenVLA-OFT on libero_10")
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("train.")}
    assert "SimpleVLA-RL" in rows["train.learner.lr"]
    assert rows["train.learner.lr"].split()[1:3] == ["5e-06", "0.0001"]
    assert "train.algorithm.clip_high" not in rows  # the default
    assert main(["presets", "--yaml"]) == 1
    assert "whose YAML? pushcut presets NAME --yaml" in capsys.readouterr().err


def test_the_yaml_of_a_preset_sets_what_the_preset_does(capsys, tmp_path: Path):
    texts = {name: printed(capsys, "presets", name, "--yaml") for name in ("smoke", "quickstart")}
    settings = yaml.safe_load(texts["smoke"])
    assert list(settings) == ["collect", "sft", "train", "eval"]
    assert settings["train"]["learner"]["lr"] == 0.001
    files = {name: tmp_path / f"{name}.yaml" for name in texts}
    for name, file in files.items():
        file.write_text(texts[name])
    both = [str(file) for file in files.values()]
    rows = [line.split() for line in printed(capsys, "diff", *both).splitlines()]
    assert rows[0] == ["setting", *both]
    assert ["train.env", "PointMassConfig", "MetaWorldConfig"] in rows
    assert ["train.env.image_size", "32", "64"] in rows
    assert "train.seed" not in {row[0] for row in rows}
    assert "have the same settings" in printed(capsys, "diff", both[0], both[0])


def test_the_schema_of_a_command_describes_every_setting(capsys):
    schema = json.loads(printed(capsys, "schema", "train"))
    parts = schema["$defs"]
    assert schema["$ref"] == "#/$defs/TrainConfig"
    assert parts["TrainConfig"]["properties"]["iterations"]["type"] == "integer"
    assert parts["GRPO"]["properties"]["clip_high"]["description"].startswith("Upper clip bound")
    environments = {one["$ref"] for one in parts["TrainConfig"]["properties"]["env"]["anyOf"]}
    assert {"#/$defs/PointMassConfig", "#/$defs/LiberoConfig"} <= environments
    assert "PartConfig" not in parts


@pytest.fixture(scope="module")
def bash(tmp_path_factory) -> Path:
    from pushcut.commands.completion import run_completion

    script = tmp_path_factory.mktemp("bash") / "pushcut"
    script.write_text(run_completion(tuple(COMMANDS), "bash"))
    return script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("check-", "check-env check-policy"),
        ("train smo", "smoke"),
        ("train smoke --algorithm.clip", "--algorithm.clip-high --algorithm.clip-low"),
        ("collect smoke --storage ", "image video"),
        ("schema q", "quickstart"),
        ("sims i", "install"),
    ],
)
def test_bash_completes_commands_presets_flags_and_values(bash: Path, typed, offered):
    words = " ".join(f"'{word}'" for word in ["pushcut", *typed.split(" ")])
    ask = (
        f"source {bash}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        "_shtab_pushcut; echo ${COMPREPLY[@]}"
    )
    found = subprocess.run(["bash", "-c", ask], capture_output=True, text=True)
    assert found.stdout.strip() == offered


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script_too(capsys, shell):
    text = printed(capsys, "completion", shell)
    assert all(command in text for command in COMMANDS)
