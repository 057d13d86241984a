"""The list of presets, and the scripts of shells."""

import pytest

from pushcut.cli import COMMANDS, main
from pushcut.presets import PRESETS


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_presets_with_words_are_listed_alone(capsys):
    lines = printed(capsys, "presets", "libero", "long").splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names[:3] == ["libero-long", "libero-long-flow", "libero-long-openvla-oft"]
    assert len(names) == 14
    assert main(["presets", "aloha"]) == 1
    assert "no preset with 'aloha'" in capsys.readouterr().err


def test_presets_are_listed_with_what_they_are(capsys):
    text = printed(capsys, "presets")
    assert all(name in text and preset.summary in text for name, preset in PRESETS.items())


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script_too(capsys, shell):
    text = printed(capsys, "completion", shell)
    assert all(command in text for command in COMMANDS)
