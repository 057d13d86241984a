"""What bfloat16 changes: pi0's velocities and log-ratios against the same weights in float32.

`velocity_error` is the norm of the difference over the norm, bfloat16 to float32.
`log_ratio` is what PPO would take for a change of the policy although nothing changed: the same
decisions evaluated in batches of another size than they were sampled in (largest absolute sum over
the executed part of a noisy step), in each precision; 0 in an exact arithmetic.
The last line is one JSON object.

    PYTHONPATH=src python3 benchmarks/gpu/precision.py [--tiny --device cpu]
"""

from __future__ import annotations

from typing import Any

import torch
from common import Batch, Bench, relative_error
from pi0_calls import TINY, build, encode, log_probability, observation, transitions
from record import arguments, print_record
from torch import Tensor

from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes

SAMPLED_IN = 32
"""Decisions of an inference batch."""

LEARNED_IN = 8
"""Decisions of a micro-batch."""


@torch.no_grad()
def velocity(network: Pi0Network, batch: Batch) -> Tensor:
    return network.denoise(
        encode(network, batch), batch["state"], batch["before"], batch["t"]
    ).velocity


def log_ratio(network: Pi0Network, batch: Batch, size: int) -> Tensor:
    """Of each decision, between one large batch and parts of ``size``; [b]."""
    parts = [
        velocity(network, {name: x[start : start + size] for name, x in batch.items()})
        for start in range(0, len(batch["noise"]), size)
    ]
    again = log_probability(batch, torch.cat(parts))
    before = log_probability(batch, velocity(network, batch))
    return (again - before).double().flatten(1).sum(1).abs()


def measured(bench: Bench, dtype: torch.dtype, sizes: Pi0Sizes) -> tuple[Tensor, dict[str, Any]]:
    bench.dtype = dtype
    network = build(bench, sizes)
    sampled, learned = (4, 2) if bench.tiny else (SAMPLED_IN, LEARNED_IN)
    prompt = 6 if bench.tiny else 48
    inputs = observation(network, sampled, prompt, bench.device)
    batch = transitions(network, inputs, points=1)
    ratio = log_ratio(network, batch, learned)
    return velocity(network, batch), {
        "log_ratio_largest": ratio.max().item(),
        "log_ratio_mean": ratio.mean().item(),
        "batches": [sampled, learned],
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    bench = Bench(options)
    sizes = TINY if options.tiny else Pi0Sizes()
    full, exact = measured(bench, torch.float32, sizes)
    full = full.cpu()
    half, rounded = measured(bench, torch.bfloat16, sizes)
    record = {
        "benchmark": "gpu/precision",
        "velocity_error": relative_error(half.cpu(), full),
        "float32": exact,
        "bfloat16": rounded,
    }
    print_record(bench, options, record)


if __name__ == "__main__":
    main()
