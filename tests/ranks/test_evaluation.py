"""Ranks that share an evaluation: the numbers of one process, written once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pushcut.commands.evaluate import run_eval
from pushcut.errors import UserError
from pushcut.policies.source import TokenPolicySource
from tests.ranks.launch import on_ranks

pytestmark = pytest.mark.heavy


def refused(config) -> str:
    with pytest.raises(UserError) as caught:
        run_eval(config)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["greedy", "sampled"])
def test_two_ranks_find_what_one_finds_and_the_first_writes_it(smoke, finetuned, tmp_path, mode):
    config = replace(
        smoke.eval,
        policy=TokenPolicySource(finetuned),
        rollout=replace(smoke.eval.rollout, slots=4, workers=1),
        episodes_per_task=5,
        mode=mode,
        device="cpu",
    )
    alone = run_eval(replace(config, out=tmp_path / "one" / "it.json"))
    first, second = on_ranks(2, run_eval, replace(config, out=tmp_path / "two" / "it.json"))
    assert first == second == json.loads((tmp_path / "two" / "it.json").read_text())
    assert first["per_task"] == alone["per_task"]
    ledgers = [Path(result["ledger"]).read_text() for result in (alone, first)]
    assert ledgers[0] == ledgers[1]
    names = [sorted(p.name for p in (tmp_path / x).iterdir()) for x in ("one", "two")]
    assert names[0] == names[1]
    # The first rank finds the file, and all are told.
    again = on_ranks(2, refused, replace(config, out=tmp_path / "two" / "it.json"))
    assert ["exists" in told for told in again] == [True, True]
