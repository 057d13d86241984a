"""The fault campaign and the soak: what they check can fail, and their short forms run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from studies.faulting.checks import Damage, damage, difference

from pushcut import assembly
from pushcut.config import EvaluationConfig
from pushcut.runs.jsonl import read_lines, rewrite_lines

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def undisturbed(runs, small_training) -> Path:
    run = runs / "undisturbed"
    if not run.exists():
        evaluation = EvaluationConfig(every=2, episodes_per_task=2)
        assembly.train(replace(small_training, iterations=2, evaluation=evaluation, out=run))
    return run


def change_episodes(change: Callable[[list], object]) -> Callable[[Path], None]:
    """Changes the ledger of the second iteration."""

    def apply(run: Path) -> None:
        lines = read_lines(run / "episodes.jsonl")
        change(lines[1]["episodes"])
        rewrite_lines(run / "episodes.jsonl", lines)

    return apply


def forget_an_evaluated_episode(run: Path) -> None:
    ledger = run / "eval" / "000000-greedy.ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:-1]))


def change_a_loss(run: Path) -> None:
    lines = read_lines(run / "metrics.jsonl")
    lines[0]["loss"] += 1e-12
    rewrite_lines(run / "metrics.jsonl", lines)


def change_a_weight(run: Path) -> None:
    file = run / "checkpoints" / "000002" / "policy" / "model.safetensors"
    weights = load_file(file)
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, file)


def cut_the_optimizer(run: Path) -> None:
    file = run / "checkpoints" / "000002" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:100])


SABOTAGE = {
    "nothing": (lambda run: None, Damage()),
    "an episode twice": (change_episodes(lambda e: e.append(e[0])), Damage(duplicated=1)),
    "an episode less": (change_episodes(lambda e: e.pop()), Damage(lost=1)),
    "another outcome": (
        change_episodes(lambda e: e[0].__setitem__(4, not e[0][4])),
        Damage(lost=1, duplicated=1),
    ),
    "an evaluated episode less": (forget_an_evaluated_episode, Damage(lost=1)),
    "a loss": (change_a_loss, Damage(metrics=1)),
    "a weight": (change_a_weight, Damage(checkpoints=1)),
    "half a file": (cut_the_optimizer, Damage(checkpoints=1)),
    "no checkpoint": (
        lambda run: shutil.rmtree(run / "checkpoints" / "000001"),
        Damage(checkpoints=1),
    ),
    "a leftover": (
        lambda run: (run / "checkpoints" / ".000002.new").mkdir(),
        Damage(checkpoints=1),
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_campaign_sees_each_kind_of_damage(undisturbed, tmp_path, name):
    sabotage, wanted = SABOTAGE[name]
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    sabotage(run)
    found = damage(run, undisturbed)
    assert replace(found, notes=[]) == wanted
    assert bool(found.notes) == (name != "nothing")


def record_of(script: str, *options: str) -> dict:
    environment = os.environ | {"PYTHONPATH": str(STUDIES.parent / "src")}
    command = [sys.executable, str(STUDIES / script), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


HARM = (
    "episodes_lost", "episodes_duplicated", "checkpoints_broken", "metrics_different",
    "recoveries_untold", "unexpected_ends", "processes_leaked",
)  # fmt: skip


def check_harmless(record: dict, kinds: int, of_each: int) -> None:
    assert record["injected"] == record["recovered"] == kinds * of_each
    assert {name: record[name] for name in HARM} == dict.fromkeys(HARM, 0), record["notes"]


def test_the_campaign_sees_damage_in_the_parts_of_a_sharded_checkpoint(tmp_path):
    one, other, cut = (tmp_path / name for name in ("one", "other", "cut"))
    for checkpoint, weight in ((one, 1.0), (other, 2.0), (cut, 1.0)):
        (checkpoint / "shards").mkdir(parents=True)
        (checkpoint / "progress.json").write_text("{}")
        save_file({"policy.w": torch.tensor(weight)}, checkpoint / "shards" / "1.safetensors")
    (cut / "shards" / "1.safetensors").write_bytes(b"")
    assert difference(one, one) == ""
    assert difference(one, other) == "shards/1.safetensors policy.w differs"
    assert difference(cut, one).startswith("cannot be read")


@pytest.mark.heavy
def test_a_short_campaign_loses_nothing(finetuned, tmp_path):
    kinds = ("worker-sigkill", "corrupted-observation", "trainer-sigkill")
    options = ("--short", "--each", "1", "--iterations", "8", "--out", str(tmp_path))
    record = record_of("faults.py", *options, "--policy", str(finetuned), "--kinds", *kinds)
    check_harmless(record, kinds=3, of_each=1)


LOCAL = (
    "worker-sigkill", "worker-sigstop", "exception", "corrupted-observation", "trainer-sigkill",
    "checkpoint-sigkill", "sigterm", "full-disk", "damaged-checkpoint",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("disk", [(), ("--no-mount",)], ids=["mounted", "limited"])
def test_a_campaign_of_all_kinds_for_one_process_loses_nothing(finetuned, tmp_path, disk):
    options = ("--short", "--out", str(tmp_path), "--policy", str(finetuned), *disk)
    record = record_of("faults.py", *options, "--kinds", *LOCAL)
    check_harmless(record, kinds=len(LOCAL), of_each=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds", [("rank-sigkill", "rank-sigstop"), ("ray-rank-node-lost", "ray-host-node-lost")]
)
@pytest.mark.parametrize("weights", ["replicated", "sharded"])
@pytest.mark.heavy
def test_a_short_campaign_against_ranks_loses_nothing(finetuned, tmp_path, kinds, weights):
    options = ("--short", "--each", "1", "--iterations", "6", "--weights", weights)
    options = (*options, "--out", str(tmp_path), "--policy", str(finetuned))
    record = record_of("faults.py", *options, "--kinds", *kinds)
    check_harmless(record, kinds=2, of_each=1)


@pytest.mark.heavy
def test_a_short_soak_leaves_nothing_behind(finetuned, tmp_path):
    options = ("--env", "point-mass", "--minutes", "0.05", "--policy", str(finetuned))
    record = record_of("soak.py", *options, "--out", str(tmp_path))
    assert record["resumed"] and record["flat"] is None
    for end in ("after_sigkill", "after_sigterm"):
        assert (record[end]["processes"], record[end]["leaked"]) == (1, 0)
    assert record["after_sigterm"]["exit_code"] == 143
    assert record["processes"] == [2]
    assert (tmp_path / "soak.csv").exists() and (tmp_path / "soak.png").exists()
