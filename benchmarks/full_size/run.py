"""The released VLAs at full size on this machine: load, one decision, one update, save, read back.

Weights are random, the simulator is a stand-in with LIBERO's shapes (``stand_in.py``), everything
else is what a user types: `pushcut plan`, `eval`, `eval --baseline`, `train`, `train --resume`,
`export`, each in a process of its own whose time and memory are taken, beside the plan's forecast.
What is saved is compared with what was read: names, shapes, dtypes, and the bits of what is frozen.
The last line is one JSON object.

    python benchmarks/full_size/run.py pi0 --folder /tmp/full-size [--layers 8] [--out record.json]

pi0 needs about 14 GB of memory and 35 GB of disk, OpenVLA-OFT 17 GB and 35 GB with ``--lora-saved
separate``; merged, its policy is in float32 and the disk needs 90 GB. With less give ``--layers``,
the number of the language model's layers. SmolVLA is content with 4 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import torch
from folders import WRITERS, write
from safetensors import safe_open

from pushcut.policies.precision import Precision
from pushcut.policies.released.options import ReleasedNetwork
from pushcut.runs.run import provenance

HERE = Path(__file__).parent
GB = 10**9

PRESET: dict[str, str] = {
    "pi0": "libero-spatial-pi0-flow-sde",
    "pi05": "libero-spatial-pi05-flow-sde",
    "smolvla": "libero-spatial-smolvla-flow-sde",
    "openvla-oft": "libero-spatial-openvla-oft",
    "groot": "libero-spatial-groot-flow-sde",
}
CHUNK = {"pi0": 5, "pi05": 5, "smolvla": 5, "openvla-oft": 8, "groot": 5}

ONE_AT_A_TIME = [
    *("--rollout.slots", "1", "--rollout.workers", "1", "--rollout.inference-batch", "1"),
]
UPDATE = {
    "pi0": ["--algorithm.episodes", "2", "--algorithm.stream-decisions", "0"],
    "pi05": ["--algorithm.episodes", "2", "--algorithm.stream-decisions", "0"],
    "smolvla": ["--algorithm.episodes", "2", "--algorithm.stream-decisions", "0"],
    "groot": ["--algorithm.episodes", "2", "--algorithm.stream-decisions", "0"],
    "openvla-oft": [
        *("--policy.trained", "lora", "--algorithm.group-size", "2"),
        *("--algorithm.groups", "1", "--algorithm.max-groups", "8"),
    ],
}
"""PPO of the expert, GRPO of adapters; an episode is one chunk."""


@dataclass(frozen=True)
class Phase:
    """A command, and what it took."""

    command: str
    exit_code: int
    seconds: float
    cpu_seconds: float
    """Processor time of the main process and the workers that it waited for: where other work runs
    beside it, these say more."""
    anonymous_gb: float
    """Most memory of the main process that no file stands behind."""
    resident_gb: float
    """Most memory of the main process, pages of mapped files included."""
    said: list[str]
    """Its last lines."""


class Memory(threading.Thread):
    """The largest memory of a process while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.anonymous = self.resident = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            try:
                fields = dict(line.split(":", 1) for line in self._status.open())
                anonymous, resident = (
                    1024 * int(fields[name].split()[0]) for name in ("RssAnon", "VmRSS")
                )
            except (OSError, KeyError, ValueError):
                return
            self.anonymous = max(self.anonymous, anonymous)
            self.resident = max(self.resident, resident)

    def stop(self) -> None:
        self._over.set()
        self.join()


def phase(*arguments: str, log: Path) -> Phase:
    """Runs pushcut as a user would."""
    start = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pushcut", *arguments], stdout=file, stderr=subprocess.STDOUT
        )
        memory = Memory(process.pid)
        memory.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        memory.stop()
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    got = Phase(
        command="pushcut " + " ".join(arguments),
        exit_code=code,
        seconds=round(time.perf_counter() - start, 1),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 1),
        anonymous_gb=round(memory.anonymous / GB, 2),
        resident_gb=round(memory.resident / GB, 2),
        said=lines[-3:],
    )
    print(
        f"{arguments[0]:7} exit {code}, {got.seconds:7.1f} s ({got.cpu_seconds:.1f} of a "
        f"processor), "
        f"{got.anonymous_gb:6.2f} GB ({got.resident_gb:.2f} GB with mapped files)",
        flush=True,
    )
    return got


def phases(
    network: ReleasedNetwork,
    source: Path,
    work: Path,
    *,
    commands: list[str],
    saved: str,
    precision: str,
) -> Iterator[tuple[str, Phase]]:
    """Each command in turn; a failed one does not end the rest."""
    preset, chunk = PRESET[network], CHUNK[network]
    cameras = ["--env.cameras", "agentview"] if network == "openvla-oft" else []
    # The stand-in's words are single characters, more than Qwen's: the preset's 570 rows are few.
    reading = ["--policy.released.padded-length", "700"] if network == "groot" else []
    stand_in = ["--plugin", str(HERE / "stand_in.py"), "--env", "stand-in", *cameras]
    one = [*stand_in, *ONE_AT_A_TIME, "--policy.path", str(source), *reading]
    one += ["--policy.released.precision", precision]
    evaluate = ["eval", preset, *one, "--env.max-steps", str(chunk), "--episodes-per-task", "1"]
    train = ["train", preset, *one, *UPDATE[network], "--env.max-steps", str(chunk)]
    train += ["--policy.lora.saved", saved] if network == "openvla-oft" else []
    train += ["--learner.minibatches", "1", "--learner.epochs", "1", "--learner.micro-batch", "1"]
    train += ["--evaluation.every", "0", "--save-every", "1", "--keep", "1"]
    planned = [*PLANNED[network], "--train.policy.released.precision", precision]
    planned += ["--train.policy.lora.saved", saved] if network == "openvla-oft" else []
    run = str(work / "run")
    every = {
        "plan": ["plan", preset, *planned, "--out", str(work / "plan.json")],
        "eval": [*evaluate, "--out", str(work / "eval.json")],
        "baseline": [*evaluate, "--baseline", str(source), "--out", str(work / "both.json")],
        "train": [*train, "--iterations", "1", "--out", run],
        "resume": [*train, "--iterations", "2", "--out", run, "--resume"],
        "export": ["export", run, "--out", str(work / "policy")],
    }
    for name in commands:
        yield name, phase(*every[name], log=work / f"{name}.txt")


PLANNED = {
    "pi0": ["--train.learner.micro-batch", "1", "--train.rollout.inference-batch", "1"],
    "groot": ["--train.learner.micro-batch", "1", "--train.rollout.inference-batch", "1"],
    "pi05": ["--train.learner.micro-batch", "1", "--train.rollout.inference-batch", "1"],
    "smolvla": ["--train.learner.micro-batch", "1", "--train.rollout.inference-batch", "1"],
    "openvla-oft": [
        *("--train.learner.micro-batch", "1", "--train.rollout.inference-batch", "1"),
        *("--train.policy.trained", "lora"),
    ],
}

COMMANDS = ["plan", "eval", "baseline", "train", "resume", "export"]


def tensors(folder: Path) -> dict[str, tuple[Path, tuple[int, ...], str]]:
    """Name -> file, shape and dtype of all weights in a folder."""
    found: dict[str, tuple[Path, tuple[int, ...], str]] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                part = file.get_slice(name)
                found[name] = path, tuple(part.get_shape()), part.get_dtype()
    return found


def differences(source: Path, saved: Path) -> dict[str, Any]:
    """What saving changed, tensor by tensor; of adapters alone, which they are."""
    before, after = tensors(source), tensors(saved)
    if not after:
        return {"tensors": len(before), "adapters_alone": sorted(p.name for p in saved.iterdir())}
    both = before.keys() & after.keys()
    changed, equal = 0, 0
    for name in sorted(both):
        with safe_open(before[name][0], "pt") as a, safe_open(after[name][0], "pt") as b:
            same = torch.equal(a.get_tensor(name), b.get_tensor(name))
        changed, equal = changed + (not same), equal + same
    small = [
        path.name
        for path in sorted(source.iterdir())
        if path.is_file() and path.suffix != ".safetensors" and not same_file(path, saved)
    ]
    return {
        "tensors": len(before),
        "missing": sorted(before.keys() - after.keys()),
        "surplus": sorted(after.keys() - before.keys()),
        "other_shape": [n for n in both if before[n][1] != after[n][1]],
        "other_dtype": len([n for n in both if before[n][2] != after[n][2]]),
        "equal_to_the_bit": equal,
        "changed": changed,
        "small_files_changed": small,
    }


def same_file(path: Path, folder: Path) -> bool:
    other = folder / path.name
    return other.exists() and other.read_bytes() == path.read_bytes()


def disk(folder: Path) -> dict[str, float]:
    """GB of the run on disk, files that are shared counted once, and of its last checkpoint.

    Its own is what it does not share with the other checkpoints.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    once = {path.stat().st_ino: path.stat().st_size for path in files}
    last = max((folder / "checkpoints").glob("[0-9]*"), default=None)
    sizes = {p: p.stat().st_size for p in last.rglob("*") if p.is_file()} if last else {}
    own = [size for file, size in sizes.items() if not file.name.startswith("frozen-")]
    return {
        "run_gb": round(sum(once.values()) / GB, 2),
        "checkpoint_gb": round(sum(sizes.values()) / GB, 2),
        "checkpoint_own_gb": round(sum(own) / GB, 2),
    }


LEARNED = (
    *("success_rate_sampled", "optimizer_steps", "grad_norm", "logprob_mismatch"),
    *("seconds_rollout", "seconds_update", "gpu_peak_gb"),
)
"""Fields of metrics.jsonl that the record keeps."""


def updates(metrics: Path) -> list[dict[str, float | None]]:
    """What each iteration did."""
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    rows = [json.loads(line) for line in lines]
    return [{name: row[name] for name in LEARNED if name in row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=WRITERS)
    parser.add_argument("--folder", type=Path, required=True, help="is made; nothing is deleted")
    parser.add_argument(
        "--layers", type=int, help="of the language model; default: as released, 0: tiny"
    )
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument(
        "--lora-saved", default="merged", choices=["merged", "separate"], help="of OpenVLA-OFT"
    )
    parser.add_argument("--precision", default="bfloat16", choices=get_args(Precision))
    parser.add_argument("--out", type=Path, help="the record is added to this JSON")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source = options.folder / options.network
    if not source.exists():
        write(options.network, source, options.layers)
    work = options.folder / f"{options.network}-work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    how = {"saved": options.lora_saved, "precision": options.precision}
    got = dict(phases(options.network, source, work, commands=options.commands, **how))
    record: dict[str, Any] = {
        "benchmark": "full_size",
        "network": options.network,
        "layers": options.layers,
        "precision": options.precision,
        "lora_saved": options.lora_saved if options.network == "openvla-oft" else None,
        "folder_gb": round(sum(p.stat().st_size for p in source.rglob("*")) / GB, 2),
        "phases": {name: asdict(each) for name, each in got.items()},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if (work / "plan.json").exists():
        record["plan"] = json.loads((work / "plan.json").read_text())
    if (work / "run").exists():
        record["disk"] = disk(work / "run")
        record["updates"] = updates(work / "run" / "metrics.jsonl")
    if (work / "policy").exists():
        record["saved"] = differences(source, work / "policy")
    print(json.dumps(record | provenance()))
    if options.out:
        everything = json.loads(options.out.read_text()) if options.out.exists() else {}
        everything[options.network] = record | provenance()
        options.out.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    main()
