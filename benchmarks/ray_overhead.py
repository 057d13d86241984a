"""What Ray costs: rollouts of a rank in an actor, and with simulator hosts, against local ones.

The tiny policy plays MetaWorld at 16 slots with two simulator processes: in a process
started directly, in a Ray actor with the same simulators, and in a Ray actor whose simulators
are with a simulator host. All wait for each other and are measured in turns, in pairs whose order
alternates, so that a busy moment of the machine falls on all of them; a ratio is the median over
the rounds. CPU time is that of all processes, Ray's daemons included: it depends less on what else
runs. All play the same episodes; the digest of their lengths shows it.

The last line is one JSON object. Run: python benchmarks/ray_overhead.py [--rounds 7]
"""

# ruff: noqa: E402 - what must be set before torch loads
from __future__ import annotations

from pushcut.cli import prepare_process

prepare_process()

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pushcut.cluster.config import ClusterConfig
from pushcut.cluster.start import open_simulators, run_ranks
from pushcut.envs.init_states import evaluation_inits
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.policies.normalisation import small_stats
from pushcut.policies.small.token_vla import TinyConfig, TinyPolicy
from pushcut.rollout.episode_runner import EpisodeRunner, PlayedEpisode
from pushcut.rollout.scheduler import ListSchedule
from pushcut.runs.run import provenance

TASKS = ("button-press-topdown-v3", "coffee-button-v3", "handle-press-v3", "door-close-v3")
STATISTICS = small_stats((-1.0,) * 4, (1.0,) * 4, (0.0, 0.6, 0.2, 0.5), (0.1, 0.1, 0.1, 0.5))
KINDS = ("local", "actor", "hosts")
SCRIPT = "benchmarks.ray_overhead"


def serve(cluster: ClusterConfig, settings: dict[str, Any]) -> None:
    """Measures whenever a file asks for it, until there is one that ends it."""
    torch.manual_seed(0)
    torch.set_num_threads(settings["threads"])
    env = MetaWorldConfig(tasks=TASKS)
    policy = TinyPolicy.for_data(
        TinyConfig(), statistics=STATISTICS, instructions=env.spec.tasks.values()
    )
    folder = Path(settings["folder"])
    with open_simulators(
        cluster,
        env,
        slots=settings["slots"],
        workers=settings["workers"],
        timeout_s=60.0,
        on_recovery=lambda recovery: None,
        final_observation=False,
    ) as pool:
        player = EpisodeRunner(pool, seed=0, inference_batch=8)
        asked = 0
        while not (folder / "end").exists():
            request, answer = (folder / f"{settings['kind']}-{asked}.{x}" for x in ("ask", "json"))
            if not request.exists():
                time.sleep(0.02)
                continue
            result = rollout(policy, player, settings["episodes"])
            aside = answer.with_suffix(".new")
            aside.write_text(json.dumps(result))
            aside.rename(answer)
            asked += 1


def rollout(policy: TinyPolicy, player: EpisodeRunner, episodes: int) -> dict[str, Any]:
    """Environment steps per second of sampled episodes, and what was played."""
    played: dict[int, int] = {}

    def note(episode: PlayedEpisode) -> None:
        played[episode.task.group] = episode.sim_steps

    schedule = ListSchedule(evaluation_inits(list(TASKS), episodes))
    start = time.perf_counter()
    player.play(policy, schedule, iteration=0, mode="sampled", on_episode=note)
    seconds = time.perf_counter() - start
    digest = hashlib.sha256(json.dumps(sorted(played.items())).encode()).hexdigest()[:16]
    return {"rate": sum(played.values()) / seconds, "digest": digest}


def start(kind: str, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A process that measures one kind; Ray's is a driver with a local cluster of its own."""
    content = json.dumps({**settings, "kind": kind})
    command = [sys.executable, "-m", SCRIPT, "--serve", content]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def serve_kind(settings: dict[str, Any]) -> None:
    # Simulators of a host take the place of those of the rank: as many processes.
    cores = settings["workers"]
    clusters = {
        "actor": ClusterConfig("ray", address="local", cpus_per_rank=cores),
        "hosts": ClusterConfig(
            "ray", address="local", simulators="hosts", cpus_per_rank=1, cpus_per_host=cores
        ),
    }
    if settings["kind"] == "local":
        serve(ClusterConfig(), settings)
        return
    import ray

    # More than there are: a host of two and a rank are to share two cores, as the others do.
    os.environ.setdefault("RAY_worker_niceness", "0")
    store = 200 * 2**20
    ray.init(
        "local",
        num_cpus=cores + 1,
        include_dashboard=False,
        object_store_memory=store,
        logging_level=40,
    )
    from benchmarks import ray_overhead  # not __main__: the actors import it

    run_ranks(
        clusters[settings["kind"]], ray_overhead.serve, settings, gpus=False, on_restart=print
    )


def ask(folder: Path, kind: str, number: int) -> dict[str, Any]:
    (folder / f"{kind}-{number}.ask").touch()
    answer = folder / f"{kind}-{number}.json"
    give_up = time.monotonic() + 600
    while not answer.exists():
        assert time.monotonic() < give_up, f"{kind} gives no answer"
        time.sleep(0.01)
    return json.loads(answer.read_text())


def cpu_seconds(root: int) -> float:
    """CPU time so far of a process and all below it, Ray's daemons included."""
    parents, ticks = {}, {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        number = int(file.parent.name)
        parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    below, found = {root}, 0
    while len(below) > found:
        found = len(below)
        below |= {number for number, parent in parents.items() if parent in below}
    return sum(ticks.get(number, 0) for number in below) / os.sysconf("SC_CLK_TCK")


def measure(options: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Rates and CPU seconds of each kind, one per round; the first one warms up."""
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    digests = set()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {
            "folder": name,
            "slots": options.slots,
            "workers": options.workers,
            "episodes": options.episodes_per_task,
            "threads": options.threads,
        }
        processes = {kind: start(kind, settings) for kind in KINDS}
        try:
            for number in range(options.rounds + 1):
                order = KINDS if number % 2 else KINDS[::-1]
                for kind in order:
                    before = cpu_seconds(processes[kind].pid)
                    result = ask(folder, kind, number)
                    digests.add(result["digest"])
                    if number:
                        rates[kind].append(round(result["rate"], 1))
                        cpu[kind].append(round(cpu_seconds(processes[kind].pid) - before, 2))
                print({kind: values[-1:] for kind, values in rates.items()}, flush=True)
        finally:
            (folder / "end").touch()
            for process in processes.values():
                process.wait(60)
    assert len(digests) == 1, "not the same episodes"
    return rates, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description="Rollout speed on Ray against that without.")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--episodes-per-task", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_kind(json.loads(options.serve))
        return
    rates, cpu = measure(options)
    overheads = {
        kind: [1 - rate / local for rate, local in zip(rates[kind], rates["local"], strict=True)]
        for kind in ("actor", "hosts")
    }
    best = {kind: max(values) for kind, values in rates.items()}
    record = {
        "overhead": {k: round(statistics.median(v), 3) for k, v in overheads.items()},
        "overhead_of_best": {k: round(1 - best[k] / best["local"], 3) for k in overheads},
        "steps_per_second": {k: statistics.median(v) for k, v in rates.items()},
        "cpu_overhead": {
            kind: round(statistics.median(cpu[kind]) / statistics.median(cpu["local"]) - 1, 3)
            for kind in overheads
        },
        "cpu_seconds": cpu,
        "rates": rates,
        "slots": options.slots,
        "workers": options.workers,
        "threads": options.threads,
        "cpus": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        **provenance(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
