"""pi0 and pi0.5 at full size on a GPU: decisions per second and seconds of an update.

Random weights and observations; two images, a prompt of 48 (pi0) or 200 tokens (pi0.5), four
denoising steps. Every variant is checked against the first one measured on the same inputs.

Baselines, both with attention written out (``common.eager_attention``):
    straightforward   the prefix is computed again for every pass of the expert
    reference         the prefix once per call, as openpi and RLinf do; an update takes the
                      points of a chain one by one
Ours: eager, compiled or autotuned (each block by torch.compile), "+graph" the whole call as one
CUDA graph. An update is a forward and a backward pass of the expert and its projections in
minibatches, and one step of AdamW per 1,000 decisions; PaliGemma is frozen. Its prefix is
computed again ("recomputed"), or comes from the rollout ("kept" on the GPU, "host": in pinned
memory). Workloads: "hybrid", one transition of a decision (Flow-SDE's default), and "chain", all
four (Flow-Noise, two-layer).

FLOP (2 per multiplication and addition, norms and softmax not counted):
    prefix   2 (vision weights x patches + VLM weights x tokens) + 4 tokens^2 x heads x head size
             per block; of the last block of the VLM only keys and values, as they are computed
    expert   2 weights x tokens + 4 tokens x (prefix + tokens) x heads x head size per block
    decision prefix + 4 expert;  update, per transition: 3 expert (+ 1 prefix of a decision)
The last line is one JSON object.

    PYTHONPATH=src python3 benchmarks/gpu/pi0.py --model pi0 [--budget-seconds 480]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from common import BASELINES, Bench, Measured, relative_error
from pi0_calls import (
    OBSERVED,
    STEPS,
    TINY,
    Sampler,
    Update,
    blocks_of,
    build,
    encode,
    flops,
    observation,
    pack,
    transitions,
)
from record import arguments, parameters, print_record, sampling_summary, smallest

from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes

PROMPT = {"pi0": 48, "pi05": 200}
WORKLOADS = {"hybrid": 1, "chain": STEPS}
"""Noisy steps of a decision that an update evaluates."""
PREFIXES = ("recomputed", "kept", "host")
PLAIN = (*BASELINES, "eager", "graph")
COMPILED = ("compiled", "compiled+graph")
AUTOTUNED = ("autotuned", "autotuned+graph")


def measure_sampling(
    bench: Bench, network: Pi0Network, sizes: list[int], hows: tuple[str, ...], prompt: int
) -> dict[str, Measured]:
    """One measurement for each "HOW/BATCH"."""
    results: dict[str, Measured] = {}
    for size in sizes:
        batch = observation(network, size, prompt, bench.device)
        for how in hows:
            call = Sampler(network, again=how == "straightforward")
            got = bench.measure(f"sample {size}", how, call, batch, blocks_of(network))
            if got:
                results[f"{how}/{size}"] = got
    return results


def measure_updates(
    bench: Bench, network: Pi0Network, size: int, hows: tuple[str, ...], prompt: int
) -> dict[str, Measured]:
    """One measurement for each "WORKLOAD/HOW/PREFIX"."""
    results: dict[str, Measured] = {}
    for workload, points in WORKLOADS.items():
        seen = observation(network, size, prompt, bench.device)
        batch = transitions(network, seen, points)
        kept = {k: v for k, v in batch.items() if k not in OBSERVED} | pack(encode(network, batch))
        pin = bench.device.type == "cuda"
        host = {k: v.cpu().pin_memory() if pin else v.cpu() for k, v in kept.items()}
        inputs = {"recomputed": batch, "kept": kept, "host": host}
        for how in hows:
            again, baseline = how == "straightforward", how in BASELINES
            for prefix in PREFIXES[: 1 if baseline else 3]:
                call = Update(network, prefix, apart=baseline, again=again)
                name = f"{how}/{prefix}"
                same = f"update {workload} {size}"
                got = bench.measure(same, name, call, inputs[prefix], blocks_of(network))
                if got:
                    results[f"{workload}/{name}"] = got
    return results


def sensitivity(network: Pi0Network, prompt: int, device: torch.device) -> float:
    """How much the actions change when the second half of a batch sees what the first sees.

    Variants that disagreed about the observation would differ about as much.
    """
    batch = observation(network, 2, prompt, device)
    other = batch | {name: batch[name].flip(0) for name in OBSERVED}
    return relative_error(Sampler(network)(other), Sampler(network)(batch))


def update_summary(
    updates: dict[str, Measured], size: int, step: float, cost: tuple[int, int], rate: float
) -> dict[str, Any]:
    """Seconds per 1,000 decisions, and for each workload and prefix the best of ours."""
    seconds = {name: 1000 / size * m.seconds + step for name, m in updates.items()}
    best: dict[str, Any] = {}
    for workload, points in WORKLOADS.items():
        for prefix in PREFIXES:
            mine = {
                name: value
                for name, value in seconds.items()
                if name.startswith(workload)
                and name.endswith(prefix)
                and name.split("/")[1] not in BASELINES
            }
            if not mine:
                continue
            name = min(mine, key=lambda name: mine[name])
            work = 1000 * (3 * points * cost[1] + (cost[0] if prefix == "recomputed" else 0))
            best[f"{workload}/{prefix}"] = {
                "variant": name.split("/")[1],
                "seconds_per_1000": round(mine[name], 4),
                "fraction_of_matmul_rate": round(work / mine[name] / rate, 4),
                **{
                    f"ratio_{b}": round(seconds[f"{workload}/{b}/recomputed"] / mine[name], 2)
                    for b in BASELINES
                    if f"{workload}/{b}/recomputed" in seconds
                },
            }
    return {
        "update_seconds_per_1000": {name: round(value, 4) for name, value in seconds.items()},
        "ours_update": best,
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--model", choices=tuple(PROMPT), default="pi0")
    options = parser.parse_args()
    bench = Bench(options)
    sizes = replace(TINY if options.tiny else Pi0Sizes(), pi05=options.model == "pi05")
    prompt = 6 if options.tiny else PROMPT[options.model]
    batches = options.batches or ([1, 2] if options.tiny else [1, 8, 32, 64])
    size = options.update_batch or (2 if options.tiny else 64)

    rate = bench.matmul_rate()
    network = build(bench, sizes)
    changes = sensitivity(network, prompt, bench.device)
    sampling = measure_sampling(bench, network, batches, PLAIN, prompt)
    step = bench.optimiser_seconds(network)
    updates = measure_updates(bench, network, size, PLAIN, prompt)
    # What is compiled comes last: it takes most of the time, and the rest must not wait for it.
    # The batch in the middle first, in case the time ends.
    order = sorted(batches, key=lambda batch: abs(batch - 32))
    with bench.reserved(120):
        sampling |= measure_sampling(bench, network, order, COMPILED, prompt)
    updates |= measure_updates(bench, network, size, COMPILED, prompt)
    sampling |= measure_sampling(bench, network, order[:1], AUTOTUNED, prompt)

    cost = flops(network, prompt)
    sampled = sampling_summary(sampling, batches, cost[0] + STEPS * cost[1], rate)
    updated = update_summary(updates, size, step, cost, rate)
    best = updated["ours_update"]
    kept = pack(encode(network, observation(network, 1, prompt, bench.device)))["cache"]
    record: dict[str, Any] = {
        "benchmark": "gpu/pi0",
        "model": options.model,
        "ratio_sampling": smallest(sampled["ours"], "ratio_straightforward"),
        "ratio_sampling_reference": smallest(sampled["ours"], "ratio_reference"),
        "ratio_update": ratio(best, ("hybrid/recomputed", "hybrid/kept", "hybrid/host")),
        "ratio_update_recomputed": ratio(best, ("hybrid/recomputed",)),
        "ratio_update_chain": ratio(best, ("chain/recomputed",)),
        "ratio_update_chain_reference": ratio(best, ("chain/recomputed",), "ratio_reference"),
        "results_agree": bench.agree(sampling, updates),
        "sensitivity": round(changes, 4),
        **sampled,
        **updated,
        "sampling": sampling,
        "update": updates,
        "optimiser_seconds": round(step, 5),
        "kept_mb_per_decision": round(kept.nbytes / 1e6, 3),
        "gflop": {"prefix": cost[0] / 1e9, "expert_pass": cost[1] / 1e9},
        "matmul_tflops": round(rate / 1e12, 4),
        "parameters": parameters(network),
        "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "prompt": prompt,
        "steps": STEPS,
        "update_batch": size,
    }
    print_record(bench, options, record)


def ratio(
    best: dict[str, Any], among: tuple[str, ...], to: str = "ratio_straightforward"
) -> float | None:
    """The best of some ways to update against a baseline."""
    return max((best[name][to] for name in among if to in best.get(name, {})), default=None)


if __name__ == "__main__":
    main()
