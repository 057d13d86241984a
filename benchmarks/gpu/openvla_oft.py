"""OpenVLA-OFT with action tokens at full size on a GPU: decisions per second, seconds of updates.

Random weights in bfloat16 and random observations; one image, a prompt of 32 tokens, 56 action
tokens. Every variant is checked against the first one measured on the same inputs.

Baseline, "straightforward": attention written out (``common.eager_attention``) and, as in the
released program, the logits of all words at all places.
Ours: eager, compiled or autotuned (each block by torch.compile), "+graph" the whole call as one
CUDA graph. An update is a forward and a backward pass in minibatches and one step of AdamW per
1,000 decisions, with activations "stored" or "again" (gradient checkpointing). Trained are
adapters of rank 32 on all linear layers of towers, projector and Llama ("lora"); where peft is
not installed, Llama's last blocks ("last blocks"): ``trained`` in the record says which.

FLOP (2 per multiplication and addition, norms and softmax not counted):
    decision  2 (tower weights + projector weights) x patches + 2 Llama weights x tokens
              + 2 x 256 words x width x slots, + 4 tokens^2 x width per block of each
    update    lora: 2 decisions (backward to inputs only) + 6 adapter weights x tokens;
              last blocks: 1 decision + 2 x these blocks. Recomputed activations do not count.
The last line is one JSON object.

    PYTHONPATH=src python3 benchmarks/gpu/openvla_oft.py [--budget-seconds 480]
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from common import Bench, Measured, relative_error
from openvla_oft_calls import (
    RANK,
    TINY,
    Sampler,
    Update,
    blocks_of,
    build,
    flops,
    observation,
    train_part,
    update_flops,
)
from record import arguments, parameters, print_record, sampling_summary, smallest

from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes

AGAIN = 4
"""How much larger the minibatch is where activations are not stored."""
PLAIN = ("straightforward", "eager", "graph")
COMPILED = ("compiled", "compiled+graph")
AUTOTUNED = ("autotuned", "autotuned+graph")


@contextmanager
def checkpointing(network: OpenVLANetwork, active: bool) -> Iterator[None]:
    checkpoint_activations(network, active)
    try:
        yield
    finally:
        checkpoint_activations(network, False)


def measure_sampling(
    bench: Bench, network: OpenVLANetwork, batches: list[int], hows: tuple[str, ...], prompt: int
) -> dict[str, Measured]:
    """One measurement for each "HOW/BATCH"."""
    results: dict[str, Measured] = {}
    for size in batches:
        batch = observation(network.sizes, size, prompt, bench.device)
        for how in hows:
            call, blocks = Sampler(network, how), blocks_of(network)
            got = bench.measure(f"sample {size}", how, call, batch, blocks)
            if got:
                results[f"{how}/{size}"] = got
    return results


def measure_updates(
    bench: Bench, network: OpenVLANetwork, size: int, prompt: int
) -> dict[str, Measured]:
    """One measurement for each "HOW/stored" and, with AGAIN times the minibatch, "HOW/again"."""
    results: dict[str, Measured] = {}
    for how in ("straightforward", "eager", "compiled"):
        for memory, scale in {"stored": 1, "again": AGAIN}.items():
            batch = observation(network.sizes, scale * size, prompt, bench.device)
            with checkpointing(network, memory == "again"):
                same, name = f"update {scale * size}", f"{how}/{memory}"
                call, blocks = Update(network, how), blocks_of(network)
                got = bench.measure(same, name, call, batch, blocks)
            if got:
                results[name] = got
    return results


def update_summary(
    updates: dict[str, Measured], size: int, step: float, flops: int, rate: float
) -> dict[str, Any]:
    """Seconds per 1,000 decisions, the best of ours, and ratios."""
    sizes = {"stored": size, "again": AGAIN * size}
    seconds = {
        name: 1000 / sizes[name.split("/")[1]] * measured.seconds + step
        for name, measured in updates.items()
    }
    base = {k: v for k, v in seconds.items() if k.startswith("straightforward")}
    mine = {k: v for k, v in seconds.items() if k not in base}
    best = min(mine, key=lambda name: mine[name], default=None)
    if best is None:
        return {"update_seconds_per_1000": seconds, "ours_update": None, "ratio_update": None}
    return {
        "update_seconds_per_1000": {name: round(value, 4) for name, value in seconds.items()},
        "ours_update": {
            "variant": best,
            "seconds_per_1000": round(mine[best], 4),
            "fraction_of_matmul_rate": round(1000 * flops / mine[best] / rate, 4),
        },
        "ratio_update": round(min(base.values()) / mine[best], 2) if base else None,
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    bench = Bench(options)
    prompt = 6 if options.tiny else 32
    batches = options.batches or ([1, 2] if options.tiny else [1, 8, 32, 64])
    size = options.update_batch or (1 if options.tiny else 8)

    rate = bench.matmul_rate()
    network = build(bench, TINY if options.tiny else OpenVLASizes())
    cost, count = flops(network, prompt), parameters(network)
    changes = sensitivity(network, prompt, bench.device)
    sampling = measure_sampling(bench, network, batches, PLAIN, prompt)
    # Compiling takes most of the time, and the updates must not wait for it in vain.
    order = sorted(batches, key=lambda batch: abs(batch - 32))
    with bench.reserved(150):
        sampling |= measure_sampling(bench, network, order, COMPILED, prompt)
        sampling |= measure_sampling(bench, network, order[:1], AUTOTUNED, prompt)
    trained = train_part(network)
    step = bench.optimiser_seconds(network)
    updates = measure_updates(bench, network, size, prompt)

    sampled = sampling_summary(sampling, batches, cost[0], rate)
    work = update_flops(network, prompt, trained, cost)
    record: dict[str, Any] = {
        "benchmark": "gpu/openvla_oft",
        "model": "openvla_oft",
        "ratio_sampling": smallest(sampled["ours"], "ratio_straightforward"),
        "results_agree": bench.agree(sampling, updates),
        "sensitivity": round(changes, 4),
        **sampled,
        **update_summary(updates, size, step, work, rate),
        "sampling": sampling,
        "update": updates,
        "optimiser_seconds": round(step, 5),
        "gflop": {"decision": cost[0] / 1e9, "update": work / 1e9},
        "matmul_tflops": round(rate / 1e12, 4),
        "parameters": count,
        "what_is_trained": trained,
        "rank": RANK if trained == "lora" else None,
        "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "prompt": prompt,
        "update_batch": {"stored": size, "again": AGAIN * size},
    }
    print_record(bench, options, record)


def sensitivity(network: OpenVLANetwork, prompt: int, device: torch.device) -> float:
    """How much the logits change with the image; see the benchmark of pi0."""
    batch = observation(network.sizes, 2, prompt, device)
    other = batch | {"pixel_values": batch["pixel_values"].flip(0)}
    sampler = Sampler(network, "eager")
    return relative_error(sampler(other), sampler(batch))


if __name__ == "__main__":
    main()
