"""`pushcut policies` and the table of the guide."""

from pathlib import Path

from pushcut.cli import main
from pushcut.commands.policies import known
from pushcut.policies import POLICIES

ROOT = Path(__file__).parents[2]


def test_every_kind_says_what_its_folder_must_hold_and_what_was_shown(capsys):
    assert main(["policies"]) == 0
    text = capsys.readouterr().out
    for name, facts in known().items():
        assert facts is not None
        assert f"{name}: {facts.title}\n" in text
        assert facts.folder in text
    for what in ("parity", "full size", "GPU", "real checkpoint"):
        assert text.count(f"\n  {what} ") == len(known())


def test_what_is_said_to_be_shown_is_there():
    for facts in known().values():
        assert facts is not None
        files = [file for shown in facts.findings.values() for file in shown.where]
        assert all((ROOT / file).is_file() for file in files), files


def test_only_second_layouts_of_a_policy_have_no_row_of_their_own():
    assert set(POLICIES) - known().keys() == {"openpi", "groot"}


def test_the_guide_has_the_same_table(capsys):
    assert main(["policies", "--markdown"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs/how-to/vla.md").read_text()


def test_one_kind_alone(capsys):
    assert main(["policies", "pi0_fast"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("pi0_fast: pi0-FAST\n") and "pi05" not in text


def test_an_unknown_kind_is_guessed(capsys):
    assert main(["policies", "pi0fast"]) == 1
    error = capsys.readouterr().err
    assert "did you mean 'pi0_fast'?" in error and error.count("\n") == 1
