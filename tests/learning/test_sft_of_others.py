"""Fine-tuning straight from files of others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pushcut.commands.sft import run_sft
from pushcut.policies import load
from pushcut.policies.small.observation_tokens import SmallPolicy
from pushcut.policies.source import StartPolicy
from pushcut.runs.run import read_metrics
from tests.demos.others import HUGGING_FACE, TASK, write_hdf5, write_lerobot


def _hdf5(folder):
    return write_hdf5(folder / f"{TASK}_demo.hdf5", late=True)


def _lerobot(folder):
    return write_lerobot(folder / "set", HUGGING_FACE, version="v2.1")


@pytest.mark.parametrize("write", [_hdf5, _lerobot])
def test_two_steps_of_fine_tuning_need_no_conversion(tmp_path, smoke, capsys, write):
    fit = replace(smoke.sft.fit, steps=2, log_every=1, warmup_steps=0)
    new = replace(smoke.sft.policy.new, cameras=("agentview", "wrist"), image_size=16)
    config = replace(
        smoke.sft,
        dataset=write(tmp_path),
        policy=StartPolicy(new=new),
        fit=fit,
        device="cpu",
        out=tmp_path / "run",
    )
    policy = load(run_sft(config))
    assert policy.action_size == 7
    assert isinstance(policy, SmallPolicy)
    low, high = (policy.statistics["action"].by_name()[name] for name in ("q01", "q99"))
    assert (low[6], high[6]) == (-1, 1)  # closed, open
    assert len(read_metrics(config.out / "metrics.jsonl")) == 2
    printed = " ".join(capsys.readouterr().out.split())  # lines are folded to the terminal
    assert "gripper commands converted from 'plus_closes'" in printed
