"""Options and the record of the GPU benchmarks: FLOP, summaries, the last line."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
import torch._dynamo.utils
from common import BASELINES, Bench, Measured
from torch import nn

from pushcut.runs.run import provenance


def linear_flops(modules: Iterable[nn.Module]) -> int:
    """FLOP of all linear layers and convolutions inside, for one token: 2 for each weight."""
    layers = [part for module in modules for part in module.modules()]
    return 2 * sum(x.weight.numel() for x in layers if isinstance(x, nn.Linear | nn.Conv2d))


def parameters(network: nn.Module) -> int:
    """Numbers in a network, shared ones once."""
    return sum(parameter.numel() for parameter in network.parameters())


def sampling_summary(
    sampling: dict[str, Measured], batches: list[int], flops: float, rate: float
) -> dict[str, Any]:
    """Decisions per second and the best of ours at each batch; keys are "HOW/BATCH"."""
    speeds: dict[str, dict[int, float]] = {}
    for name, measured in sampling.items():
        how, _, batch = name.rpartition("/")
        speeds.setdefault(how, {})[int(batch)] = round(int(batch) / measured.seconds, 3)
    ours: dict[int, Any] = {}
    for batch in batches:
        rivals = {how: got[batch] for how, got in speeds.items() if batch in got}
        mine = {how: speed for how, speed in rivals.items() if how not in BASELINES}
        if not mine:
            continue
        best = max(mine, key=lambda how: mine[how])
        ours[batch] = {
            "variant": best,
            "decisions_per_second": mine[best],
            "fraction_of_matmul_rate": round(flops * mine[best] / rate, 4),
            **{f"ratio_{b}": round(mine[best] / rivals[b], 2) for b in BASELINES if b in rivals},
        }
    return {"decisions_per_second": speeds, "ours": ours}


def smallest(ours: dict[int, Any], ratio: str) -> float | None:
    """The worst ratio over the batch sizes; None where none was measured."""
    return min((got[ratio] for got in ours.values() if ratio in got), default=None)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options of both scripts."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes: try the code, no result")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--batches", type=int, nargs="+", help="default 1 8 32 64; tiny: 1 2")
    parser.add_argument("--update-batch", type=int, help="decisions that are forwarded at once")
    parser.add_argument("--compile-mode", default="default", help="of torch.compile")
    parser.add_argument("--budget-seconds", type=float, default=480)
    parser.add_argument("--commit", help="where the copy on the GPU's machine has no .git")
    return parser


def print_record(bench: Bench, options: argparse.Namespace, record: dict[str, Any]) -> None:
    """The last line: one JSON object."""
    cuda = bench.device.type == "cuda"
    counters = torch._dynamo.utils.counters
    record |= {
        "not_measured": bench.not_measured,
        "compiled_graphs": counters["stats"]["unique_graphs"],
        "graph_breaks": sum(counters["graph_break"].values()),
        "options": vars(options),
        "seconds": round(bench.seconds, 1),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "device_gb": torch.cuda.get_device_properties(0).total_memory / 1e9 if cuda else None,
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    where = provenance()
    where["commit"] = options.commit or where["commit"]
    print(json.dumps(record | where, default=asdict))
