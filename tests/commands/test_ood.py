"""`pushcut ood`: every variant once, means of columns, and a paired baseline."""

import json
from dataclasses import replace

import pytest

from pushcut.cli import main
from pushcut.commands.ood import OODConfig, run_ood, with_variants
from pushcut.envs.maniskill.put_on_plate.env import PutOnPlateConfig
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.envs.metaworld.tasks import ML45_TEST
from pushcut.envs.point_mass import PointMassConfig
from pushcut.errors import UserError
from pushcut.evaluation.results import EvalResult, LedgerLine
from pushcut.evaluation.tables import Row
from pushcut.evaluation.variations import VariationTable
from pushcut.policies.source import TokenPolicySource
from tests.commands.varied import COLUMNS, VariedConfig


def row(name: str, **solved: int) -> Row:
    """A policy that solves the first episodes of each variant, of four."""
    ledger = tuple(
        LedgerLine(f"reach-{task}", seed, seed < count, 5, 5)
        for task, count in solved.items()
        for seed in range(4)
    )
    return Row(name, EvalResult("greedy", ledger, 1.0))


BEFORE = row("before", red=2, blue=1, green=2, yellow=0)
AFTER = row("after", red=4, blue=2, green=4, yellow=1)


def test_a_column_is_the_mean_of_its_variants_and_ood_that_of_the_columns_but_the_first():
    cells = VariationTable(COLUMNS, [BEFORE]).cells(BEFORE)
    assert cells["reach-red"]["success"] == cells["In distribution"]["success"] == 2 / 4
    assert cells["Colour"]["success"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert cells["OOD"]["success"] == pytest.approx((0.375 + 0) / 2)


def test_differences_are_paired_and_averaged_alike():
    table = VariationTable(COLUMNS, [BEFORE, AFTER])
    found = {name: cell["difference"] for name, cell in table.differences().items()}
    assert found["reach-red"] == 0.5
    assert found["Colour"] == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert found["OOD"] == pytest.approx((0.375 + 0.25) / 2)
    text = table.markdown()
    assert "| Colour | reach-blue | 25.0 [4.6, 69.9] (1/4) | 50.0 [15.0, 85.0] (2/4) | +25" in text
    assert "| **OOD** | **mean** | **18.8 [" in text
    assert "OOD: the mean of Colour, Other." in text


def test_the_variants_of_environments():
    env = with_variants(MetaWorldConfig(tasks=("reach-v3", "push-v3")))
    assert list(env.spec.tasks) == ["reach-v3", "push-v3", *ML45_TEST]
    assert len(with_variants(PutOnPlateConfig()).spec.tasks) == 13
    for nothing in (PointMassConfig(), MetaWorldConfig(tasks=("mt50",))):
        with pytest.raises(UserError, match="has no variants"):
            with_variants(nothing)


def test_a_folder_that_is_not_there_is_named(capsys):
    assert main(["ood", "runs/nowhere"]) == 1
    assert "runs/nowhere is no folder" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_checkpoint_is_played_in_every_variant(tmp_path, finetuned, smoke):
    env = VariedConfig()
    source = TokenPolicySource(path=finetuned)
    config = replace(OODConfig.of(smoke), env=env, policy=source, episodes_per_task=2)
    out = tmp_path / "ood.json"
    content = run_ood(replace(config, out=out))
    assert [cell["episodes"] for name, cell in content["rows"][0]["cells"].items() if
            name.startswith("reach-")] == [2] * 4  # fmt: skip
    assert json.loads((tmp_path / "ood-variants.json").read_text()) == content
    again = run_ood(replace(config, out=tmp_path / "again.json", baseline=out))
    assert again["difference"]["OOD"]["difference"] == 0.0
    assert "| difference |" in (tmp_path / "again-variants.md").read_text()
