"""What an export of weights in parts remembers besides the weights."""

from __future__ import annotations

import json
import shutil

import pytest

from pushcut import assembly
from pushcut.commands.export import run_export
from pushcut.config import TrainConfig
from pushcut.policies import load
from pushcut.policies.told import FILE
from pushcut.ranks.config import RanksConfig
from pushcut.ranks.start import joined
from tests.ranks.configs import uneven
from tests.ranks.launch import on_ranks

pytestmark = pytest.mark.heavy


def train(config: TrainConfig) -> None:
    with joined(config.ranks, gpus=False) as ranks:
        assembly.train_on(ranks, config)


def test_an_export_of_shards_knows_the_sentences_that_the_run_was_trained_on(
    smoke, finetuned, tmp_path
):
    start = shutil.copytree(finetuned, tmp_path / "start")
    (start / FILE).write_text('{"old": ["an old sentence"]}')
    ranks = RanksConfig(weights="sharded")
    config = uneven(smoke, start, iterations=1, ranks=ranks, out=tmp_path / "run")
    on_ranks(2, train, config)
    sentences = smoke.train.env.spec.tasks
    told = {"old": ["an old sentence"]} | {task: [text] for task, text in sentences.items()}
    stored = tmp_path / "run" / "checkpoints" / "000001" / FILE
    assert json.loads(stored.read_text()) == told
    (start / FILE).write_text('{"new": ["what is written later"]}')
    policy = run_export(tmp_path / "run", tmp_path / "policy")
    assert json.loads((policy / FILE).read_text()) == told
    assert load(policy).told == {task: tuple(texts) for task, texts in told.items()}
    stored.unlink()  # as earlier versions wrote it
    policy = run_export(tmp_path / "run", tmp_path / "earlier")
    told = {"new": ["what is written later"]} | {t: [text] for t, text in sentences.items()}
    assert json.loads((policy / FILE).read_text()) == told
