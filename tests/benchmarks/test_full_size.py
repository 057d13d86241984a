"""The full-size rehearsal and the GPU check with tiny networks: every step is really taken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.heavy
@pytest.mark.parametrize("network", ["pi0", "smolvla"])
def test_a_tiny_flow_vla_is_planned_played_trained_resumed_and_read_back(network, tmp_path):
    out = run("benchmarks/full_size/run.py", network, "--folder", str(tmp_path), "--layers", "0")
    record = json.loads(out.splitlines()[-1])
    phases = ["plan", "eval", "baseline", "train", "resume", "export"]
    assert list(record["phases"]) == phases
    assert [record["phases"][name]["exit_code"] for name in phases] == [0] * 6
    assert all(phase["anonymous_gb"] > 0.1 for phase in record["phases"].values())
    assert [update["optimizer_steps"] for update in record["updates"]] == [1, 1]
    assert [update["logprob_mismatch"] for update in record["updates"]] == [0, 0]
    saved = record["saved"]
    assert (saved["missing"], saved["surplus"], saved["other_shape"]) == ([], [], [])
    # The action expert and its projections learn; the VLM and the unused head stay.
    assert saved["changed"] > 0 and saved["equal_to_the_bit"] > saved["tensors"] / 2


@pytest.mark.slow
def test_the_gpu_check_takes_every_step_on_a_cpu(tmp_path):
    record = tmp_path / "gpu.json"
    run(
        "benchmarks/gpu/check.py", "--tiny", "--device", "cpu", "--out", str(record),
        "--budget-seconds", "1200", "--only", "precision", "write", "train", "overlap", "sharded",
    )  # fmt: skip
    parts = json.loads(record.read_text())["parts"]
    assert [part["exit_code"] for part in parts.values()] == [0] * 5
    assert len(parts["overlap"]["iterations"]) == len(parts["sharded"]["iterations"]) == 2
    assert parts["precision"]["record"]["float32"]["log_ratio_largest"] < 1e-4
