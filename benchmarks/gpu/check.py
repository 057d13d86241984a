"""All that is to be known of one GPU, within ten minutes, without a network: one JSON record.

Each part is a program of its own with a share of the time; what fails or takes longer is said in
the record, and the rest goes on. `scripts/gpu_check.sh` starts it.

    tests       the tests marked "gpu"
    pi0, openvla_oft
                full-size sampling and updates: decisions per second, share of the matmul rate
    memory      measured against `pushcut plan`
    precision   bfloat16 against float32
    train, overlap, sharded
                two iterations of `pushcut train` with a full-size pi0 on a stand-in simulator: as
                usual; with the next rollout played on a stream of its own; FSDP2 on one rank, NCCL
    metaworld   rollouts that are rendered through EGL

    PYTHONPATH=src python3 benchmarks/gpu/check.py --out gpu.json [--tiny --device cpu]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pushcut.runs.run import provenance

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parent
STAND_IN = str(BENCHMARKS / "full_size" / "stand_in.py")
PYTHON = sys.executable


LAST_LINES = 15
"""Of what a part that failed said are printed."""


@dataclass(frozen=True)
class Part:
    """A program, the seconds that it may take, and where its result is."""

    name: str
    command: list[str]
    seconds: float
    metrics: Path | None = None
    """A run's metrics.jsonl; None: the last line of what it prints is JSON."""
    environment: dict[str, str] = field(default_factory=dict)


def parts(work: Path, device: str, *, tiny: bool) -> Iterator[Part]:
    gpu = BENCHMARKS / "gpu"
    small = ["--tiny"] if tiny else []
    on = [*small, "--device", device]
    yield Part("tests", [PYTHON, "-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py"], 90)
    for name in ("pi0", "openvla_oft"):
        sizes = [] if tiny else ["--batches", "8", "32", "--budget-seconds", "80"]
        yield Part(name, [PYTHON, str(gpu / f"{name}.py"), *on, *sizes], 150)
    cases = ["--cases", "pi0-expert", "openvla-lora-checkpointing"]
    yield Part("memory", [PYTHON, str(gpu / "memory.py"), *small, *cases], 90)
    yield Part("precision", [PYTHON, str(gpu / "precision.py"), *on], 60)
    policy = work / "policy"
    write = [PYTHON, str(BENCHMARKS / "full_size" / "folders.py"), "pi0", str(policy)]
    yield Part("write", [*write, *(["--layers", "0"] if tiny else [])], 120)
    for name, options in TRAINING.items():
        run = work / name
        train = [*LAUNCH[name], *train_command(policy, run, device, tiny=tiny), *options]
        yield Part(name, train, 90, metrics=run / "metrics.jsonl")
    episodes = ["--rounds", "1", "--episodes-per-task", "1" if tiny else "8"]
    metaworld = [PYTHON, str(BENCHMARKS / "policy_in_the_loop.py"), *episodes]
    yield Part("metaworld", metaworld, 120, environment={"MUJOCO_GL": "egl"})


TRAINING = {
    "train": [],
    "overlap": ["--overlap"],
    "sharded": ["--ranks.weights", "sharded"],
}

TORCHRUN = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m"]
LAUNCH = {"train": [PYTHON, "-m"], "overlap": [PYTHON, "-m"], "sharded": TORCHRUN}


def train_command(policy: Path, run: Path, device: str, *, tiny: bool) -> list[str]:
    """Two iterations of PPO with Flow-SDE, the action expert is trained."""
    episodes, batch = (4, 2) if tiny else (32, 16)
    return [
        *("pushcut", "train", "libero-spatial-pi0-flow-sde", "--plugin", STAND_IN),
        *("--env", "stand-in", "--policy.path", str(policy), "--out", str(run)),
        *("--algorithm.episodes", str(episodes), "--algorithm.stream-decisions", "0"),
        *("--learner.minibatches", "2", "--learner.epochs", "1"),
        *("--learner.micro-batch", str(batch), "--rollout.inference-batch", str(batch)),
        *("--rollout.slots", str(batch), "--rollout.workers", "2", "--device", device),
        *("--iterations", "2", "--evaluation.every", "0", "--save-every", "2", "--keep", "1"),
    ]


def result(part: Part, left: float) -> dict[str, Any]:
    """What a part printed or stored, or why there is nothing."""
    seconds = min(part.seconds, left)
    if seconds < 5:
        return {"not_measured": "no time was left"}
    paths = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": paths} | part.environment
    start = time.perf_counter()
    try:
        done = subprocess.run(
            part.command, cwd=ROOT, env=environment, timeout=seconds,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"not_measured": f"stopped after {seconds:.0f} s"}
    took = {"exit_code": done.returncode, "seconds": round(time.perf_counter() - start, 1)}
    lines = done.stdout.strip().splitlines() or [""]
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [""]
        print("\n".join(["", f"{part.name} failed:", *said[-LAST_LINES:]]), flush=True)
        return took | {"not_measured": said[-1][:300]}
    if part.metrics is not None:
        return took | {"iterations": [json.loads(x) for x in part.metrics.open()]}
    try:
        return took | {"record": json.loads(lines[-1])}
    except json.JSONDecodeError:
        return took | {"said": lines[-1][:300]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes: try the code, no result")
    parser.add_argument("--budget-seconds", type=float, default=580)
    parser.add_argument("--only", nargs="+", help="names of parts")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here (--tiny --device cpu tries the code)")
    start = time.perf_counter()
    record: dict[str, Any] = {
        "benchmark": "gpu/check",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "tiny": options.tiny,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
        "parts": {},
    }
    with tempfile.TemporaryDirectory() as work:
        for part in parts(Path(work), options.device, tiny=options.tiny):
            if options.only and part.name not in options.only:
                continue
            got = result(part, options.budget_seconds - (time.perf_counter() - start))
            record["parts"][part.name] = got
            # Written each time: what was measured is kept whatever comes next.
            options.out.write_text(json.dumps(record, indent=2) + "\n")
            problem = f": {got['not_measured']}" if "not_measured" in got else ""
            print(f"{time.perf_counter() - start:6.1f} s  {part.name}{problem}", flush=True)
    print(f"{options.out}")


if __name__ == "__main__":
    main()
