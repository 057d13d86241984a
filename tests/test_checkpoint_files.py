"""What training leaves on the disk: written once, shared, whole at the end, and what fits."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pushcut import assembly, trainer
from pushcut.algorithms.ppo import PPO
from pushcut.commands.export import run_export
from pushcut.config import EvaluationConfig, TrainConfig
from pushcut.errors import UserError
from pushcut.learning import checkpoint, disk
from pushcut.learning.checkpoint import is_finite
from pushcut.learning.disk import CheckpointSize, check_disk
from pushcut.policies.base import Policy
from pushcut.runs.run import Run
from tests.policies.released.builders import bfloat16, flow
from tests.policies.released.folders import write_openpi

pytestmark = pytest.mark.heavy

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture
def config(small_training, tmp_path) -> TrainConfig:
    """A pi0 whose PaliGemma is frozen, for two iterations; it hardly ever succeeds."""
    original = write_openpi(tmp_path / "original", action=2)
    return replace(
        small_training,
        policy=flow(original, replace(bfloat16(True), action_size=2)),
        algorithm=PPO(episodes=2),
        evaluation=EvaluationConfig(every=0),
        iterations=2,
        device="cpu",
    )


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """Names of the checkpoints that are written."""
    names: list[str] = []
    original = checkpoint.write_whole

    def write(learner, folder: Path, shared) -> None:
        names.append(folder.name)
        original(learner, folder, shared)

    monkeypatch.setattr(checkpoint, "write_whole", write)
    return names


def files(policy: Path) -> set[str]:
    return {file.name.split("-")[0] for file in policy.glob("*.safetensors*")}


def test_a_run_of_a_frozen_vlm_is_shared_on_the_disk_resumed_without_its_origin_and_exported(
    config, written, tmp_path
):
    run = assembly.train(replace(config, iterations=3))
    assert written == [".000001.new", ".000002.new", ".000003.new"]
    first, second, third = (run.checkpoints / f"00000{n}" / "policy" for n in (1, 2, 3))
    assert files(first) == files(second) == files(third) == {"frozen", "model", INDEX}
    frozen = [next(path.glob("frozen-*")) for path in (first, second)]
    assert frozen[0].samefile(frozen[1]) and frozen[0].stat().st_nlink == 3
    assert frozen[0].stat().st_mode & 0o777 == 0o444
    # At the end it is there as LeRobot and openpi expect it.
    assert files(run.final) == {SINGLE}
    before, after = load_file(tmp_path / "original" / SINGLE), load_file(run.final / SINGLE)
    vlm = [name for name in before if "paligemma." in name]
    assert len(vlm) > 20 and all(torch.equal(before[name], after[name]) for name in vlm)
    run_export(run.checkpoints / "000002", tmp_path / "out")
    assert files(tmp_path / "out") == {SINGLE}
    exported = load_file(tmp_path / "out" / SINGLE)
    assert exported.keys() == before.keys()
    assert all(torch.equal(before[name], exported[name]) for name in vlm)
    # What it began with may be gone; the newest checkpoint has all of it.
    shutil.rmtree(tmp_path / "original")
    (run.final / "mark").touch()  # it is made anew
    assembly.train(replace(config, iterations=5, resume=True))
    fifth = run.checkpoints / "000005" / "policy"
    assert files(fifth) == {"frozen", "model", INDEX}
    assert frozen[1].name == next(fifth.glob("frozen-*")).name
    assert not first.exists()  # keep 3, and the others go on
    assert files(run.final) == {SINGLE} and not (run.final / "mark").exists()
    again = replace(config.policy, path=run.checkpoints / "000004").load_to_act()
    assert isinstance(again, Policy)


def test_a_finished_run_that_is_resumed_writes_nothing(config, written):
    assembly.train(config)
    assert len(written) == 2
    assembly.train(replace(config, resume=True))
    assert len(written) == 2


def test_the_best_of_an_evaluation_at_the_end_is_noted_and_not_written_again(
    small_training, written
):
    evaluation = replace(small_training.evaluation, every=1, episodes_per_task=2)
    config = replace(small_training, iterations=2, evaluation=evaluation)
    run = assembly.train(config)
    assert written == [".000000.new", ".000001.new", ".000002.new"]
    progress = (run.checkpoints / "000002" / "progress.json").read_text()
    assert '"iteration": 2' in progress and '"best": -1.0' not in progress


def test_a_disk_that_fills_up_after_the_last_checkpoint_fails_nothing(
    small_training, monkeypatch, capsys
):
    evaluation = replace(small_training.evaluation, every=2, episodes_per_task=2)
    original = Path.write_text

    def full(self, *arguments, **named):
        if self.name == ".progress.json":
            raise OSError(28, "No space left on device")
        return original(self, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", full)
    assembly.train(replace(small_training, iterations=2, evaluation=evaluation))
    out = small_training.out
    assert (out / "checkpoints" / "000002" / "optimizer.pt").exists()


def test_a_disk_too_full_for_the_whole_policy_fails_nothing(config, monkeypatch, capsys):
    def full(folder, out):
        raise UserError(f"could not write {out}: No space left on device")

    monkeypatch.setattr(trainer, "copy_whole", full)
    run = assembly.train(replace(config, iterations=1))
    said = " ".join(capsys.readouterr().out.split())
    assert "final: No space left on device; `pushcut export" in said
    assert (run.checkpoints / "000001" / "optimizer.pt").exists() and not run.final.exists()


def test_a_full_disk_is_told_in_bytes_before_anything_is_written(
    small_training, monkeypatch, capsys
):
    original, room = checkpoint.needed_now, [10**12]
    monkeypatch.setattr(checkpoint, "free_bytes", lambda path: room[0])
    monkeypatch.setattr(disk, "free_bytes", lambda path: room[0])

    def needed(*arguments, **named):
        room[0] = 1_500_000_000
        return original(*arguments, **named) + 4_000_000_000

    monkeypatch.setattr(checkpoint, "needed_now", needed)
    monkeypatch.setattr(checkpoint.torch, "save", lambda *_: pytest.fail("was written"))
    with pytest.raises(UserError) as error:
        assembly.train(small_training)
    assert "No space left on device: it needs 4.0 GB, 1.5 GB are free" in str(error.value)
    assert "\n" not in str(error.value)


PI0 = CheckpointSize(each=3_800_000_000, shared=6_400_000_000)


def test_the_disk_is_judged_by_what_a_run_will_take(tmp_path, monkeypatch):
    def judged(free: int, **named) -> str | None:
        monkeypatch.setattr(disk, "free_bytes", lambda path: free)
        return check_disk(tmp_path / "not" / "there", PI0, keep=3, **named)

    # Three, the best, the one that is written; what they share twice, for the last is whole.
    assert PI0.most(3) == 31_800_000_000
    assert judged(32_000_000_000) is None
    line = judged(31_000_000_000)
    assert line is not None and line.startswith(
        "checkpoints take up to 31.8 GB (3 kept, the best and the one that is written, 3.8 GB each "
        "and once 6.4 GB that they share), 31.0 GB are free in"
    )
    assert judged(25_000_000_000, there=2) is None
    with pytest.raises(UserError, match=r"a checkpoint takes 10\.2 GB, 9\.0 GB are free in"):
        judged(9_000_000_000)


def test_settings_that_cannot_work_are_refused_before_weights_are_read(config, monkeypatch, capsys):
    monkeypatch.setattr("pushcut.policies.source.leave_files", lambda *_: pytest.fail("was read"))
    monkeypatch.setattr(Run, "create", lambda *_: pytest.fail("was written"))
    short = replace(config, algorithm=PPO(episodes=2, stream_decisions=1))
    with pytest.raises(UserError, match=r"a stream needs at least \d+ decisions"):
        assembly.train(short)
    said = capsys.readouterr().out
    assert "--resume" not in said and "loading" not in said
    assert config.out is not None and not config.out.exists()


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        ("evaluation", {"episodes_per_task": 0}, "episodes_per_task must be >= 1, got 0"),
        ("evaluation", {"every": -1}, "every must be >= 0, got -1"),
        ("evaluation", {"videos": -1}, "videos must be >= 0, got -1"),
        ("rollout", {"timeout_s": 0.0}, r"timeout_s must be > 0, got 0\.0"),
        ("", {"grace_s": -1.0}, r"grace_s must be >= 0, got -1\.0"),
        ("", {"threads": -2}, "threads must be >= 0, got -2"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_by_the_config(small_training, part, fields, message):
    whole = getattr(small_training, part) if part else small_training
    with pytest.raises(ValueError, match=message):
        replace(whole, **fields)


def test_numbers_are_looked_at_in_slices(monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKED_AT_ONCE", 7)
    weight = torch.zeros(5, 9)
    assert is_finite(weight) and is_finite(weight.T) and is_finite(torch.tensor(1.0))
    for bad in (float("nan"), float("inf")):
        weight[4, 8] = bad
        assert not is_finite(weight)
