"""The arithmetic of the memory plan, and what it says."""

import json
from dataclasses import replace

import pytest

from pushcut.memory import GB, Saving, Workload, advice, fits, plan
from pushcut.memory.blocks import Training, gemma_block, llama_block, vit_block
from pushcut.memory.parameters import count_parameters
from pushcut.memory.plan import adamw_bytes
from pushcut.policies.lora import LoRAConfig
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.llama import LlamaSizes
from pushcut.policies.networks.openvla import OpenVLANetwork, OpenVLASizes
from pushcut.policies.networks.pi0 import Pi0Network, Pi0Sizes
from pushcut.policies.networks.siglip import SiglipSizes
from tests.memory.test_measured import OPENVLA, PI0, workload_of


def test_adamw_of_300_million_float32_parameters_takes_2_4_gb():
    # 300e6 parameters x 4 bytes x 2 moments
    assert adamw_bytes(300_000_000 * 4) == 2_400_000_000


def test_the_released_networks_have_the_known_numbers_of_parameters():
    openvla = count_parameters(Workload("openvla-oft", "all", dtype="float32"), OpenVLASizes())
    assert (openvla.trained + openvla.frozen) / 4 == 7_541_237_184
    expert = count_parameters(Workload("pi0", dtype="float32"), Pi0Sizes())
    # 18 blocks of 2 x 1024 x 2048 (q, o) + 2 x 1024 x 256 (k, v) + 3 x 1024 x 4096 + 2 x 1024;
    # the last norm 1024; actions 2 x 32 x 1024 + 1024 + 32; state 32 x 1024 + 1024; the MLP of
    # action and time 2048 x 1024 + 1024 x 1024 + 2 x 1024.
    block = 2 * 1024 * 2048 + 2 * 1024 * 256 + 3 * 1024 * 4096 + 2 * 1024
    around = 1024 + 2 * 32 * 1024 + 1024 + 32 + 32 * 1024 + 1024 + 3 * 1024 * 1024 + 2 * 1024
    assert expert.trained == expert.learning == 4 * (18 * block + around)


def test_adapters_of_llama_have_rank_times_inputs_and_outputs():
    workload = Workload("openvla-oft", "lora", lora=LoRAConfig(rank_of=(("language", 32),)))
    # q, k, v, o: 4 x (4096 + 4096); gate, up, down: 3 x (4096 + 11008); 32 blocks; 2 bytes
    want = 2 * 32 * 32 * (4 * 8192 + 3 * 15104)
    assert plan(workload).trained == want == 159_907_840


def test_master_weights_take_18_bytes_and_plain_bfloat16_8():
    network = OpenVLANetwork(OPENVLA)
    workload = workload_of("openvla-oft", "all")
    masters = replace(workload, master_weights=True)
    numbers = sum(p.numel() for p in network.parameters() if p.requires_grad)
    plain, doubled = plan(workload, network), plan(masters, network)
    assert plain.trained + plain.gradients + plain.optimiser == 8 * numbers
    assert doubled.trained + doubled.gradients + doubled.optimiser == 16 * numbers
    # Cast are weights and biases of linear layers and convolutions: nearly all of a large network.
    big = count_parameters(Workload("openvla-oft", "all", master_weights=True), OpenVLASizes())
    assert big.copies == pytest.approx(big.trained / 2, rel=0.04)


def test_a_block_of_siglip_by_hand():
    sizes, full = SiglipSizes(width=8, depth=1, mlp=12, heads=2), Training("full", 2)
    # 5 tokens x 2 bytes x (both norms' inputs and outputs, q, k, v, o: 8 x 8; MLP: 2 x 12), and
    # 4 bytes x 5 tokens x (2 heads + 2 x 2 statistics of norms)
    assert vit_block(sizes, 5, full).saved == 5 * 2 * (64 + 24) + 4 * 5 * 6 == 1000
    # Frozen: neither the norms' outputs nor the MLP after its GELU
    frozen = vit_block(sizes, 5, Training("frozen", 2)).saved
    assert frozen == 5 * 2 * (48 + 12) + 4 * 5 * 6 == 720
    assert vit_block(sizes, 5, full).inputs == 5 * 2 * 8


def test_a_block_of_llama_by_hand():
    sizes = LlamaSizes(hidden=8, intermediate=12, heads=2, kv_heads=2)
    # 3 tokens; norms: 2 x (9 float32 + 8 normed + 8 out); q, k, v, o 32 and cos, sin twice 4 x 4;
    # 2 float32 for heads; MLP 4 x 12
    want = 3 * (2 * (36 + 16 + 16) + 2 * (32 + 16) + 8 + 2 * 48)
    assert llama_block(sizes, 3, Training("full", 2)).saved == want == 1008


def test_a_block_of_the_expert_copies_the_keys_and_values_of_the_prefix():
    sizes, full = GemmaSizes(8, 1, 12, heads=2, kv_heads=1, head_dim=4), Training("full", 4)
    alone = gemma_block(sizes, 3, full)
    beside = gemma_block(sizes, 3, full, context=10)
    # 10 tokens more of keys and values (2 x 4 numbers) and in the mask's one row
    assert beside.saved - alone.saved == 4 * 10 * (8 + 1)
    assert beside.inputs - alone.inputs == 4 * 10 * 8


def test_a_frozen_vlm_is_read_without_activations():
    network = Pi0Network(PI0)
    few = plan(workload_of("pi0", "expert"), network)
    wide = replace(PI0, vlm=replace(PI0.vlm, mlp=4096), vision=replace(PI0.vision, depth=9))
    more = plan(workload_of("pi0", "expert"), Pi0Network(wide))
    assert few.activations == more.activations
    assert few.reading < more.reading


def test_a_kept_prefix_fills_the_host():
    workload = Workload("pi0", keep_prefix=True, images=2, decisions=1000)
    # 18 blocks x 2 (keys, values) x (2 x 256 + 48 tokens) x 256 x 2 bytes = 10.3 MB a decision,
    # twice while a rollout is packed
    want = 2 * 1000 * 18 * 2 * 560 * 256 * 2
    kept, not_kept = plan(workload), plan(replace(workload, keep_prefix=False))
    assert kept.host - not_kept.host == want == 20_643_840_000
    assert kept.reading == 0 < not_kept.reading
    assert kept.prefixes == 3 * not_kept.prefixes


def test_the_host_holds_images_state_bins_and_log_probabilities():
    workload = Workload("openvla-oft", "all", images=1, image=(256, 256), decisions=10)
    # an image, 8 numbers of state, 56 bins of 2 bytes, 56 log-probabilities; twice
    assert plan(workload).host == 2 * 10 * (256 * 256 * 3 + 32 + 112 + 224)
    flow = Workload("pi0", images=2, image=(100, 50), decisions=1, chunk=5, mdp="two-layer")
    # five points of 50 x 32, four log-probabilities of 5 x 7
    assert plan(flow).host == 2 * (2 * 15000 + 32 + 4 * 5 * 1600 + 4 * 4 * 35)


def test_sharding_divides_what_is_always_there_and_gathers_blocks():
    alone = Workload("openvla-oft", "all", gpus=8)
    whole, shard = plan(alone), plan(replace(alone, sharding="full-shard"))
    for name in ("trained", "frozen", "gradients", "optimiser"):
        assert getattr(shard, name) == -(-getattr(whole, name) // 8)
    assert whole.gathered == 0
    # Root: 2 x 32064 x 4096 words, both ways; three blocks of 4 x 4096^2 + 3 x 4096 x 11008.
    block = 2 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096)
    assert shard.gathered > 2 * 2 * 32064 * 4096 + 3 * block
    assert shard.gathered < 1.2 * (2 * 2 * 32064 * 4096 + 3 * block)


def test_sharded_weights_are_whole_while_episodes_are_played_or_gathered_in_step():
    shared = Workload("openvla-oft", "all", gpus=8, sharding="full-shard")
    whole, in_step = plan(shared), plan(replace(shared, rollouts="in-step"))
    assert whole.acting == 2 * 7_541_237_184  # bfloat16
    assert in_step.acting == in_step.gathered == whole.gathered
    assert whole.rollout - in_step.rollout == whole.acting - in_step.acting
    masters = plan(replace(shared, master_weights=True))
    # What lies outside of blocks is gathered in float32: as many bytes again.
    assert masters.acting - whole.acting == masters.gathered - whole.gathered > 0
    assert plan(replace(shared, sharding="replicated")).acting == 0


def test_full_fine_tuning_of_openvla_fits_no_card_alone_but_eight():
    workload = Workload(
        "openvla-oft", "all", images=1, micro_batch=8, master_weights=True,
        gradient_checkpointing=True,
    )  # fmt: skip
    assert fits(plan(workload)) == ()
    eight = replace(workload, gpus=8, sharding="full-shard")
    assert fits(plan(eight))[-1] == 80


def test_cards_that_are_large_enough_fit():
    planned = plan(workload_of("pi0", "expert"), Pi0Network(PI0))
    assert fits(planned) == (24, 40, 80)
    # What is above 40 GB fits 80
    assert fits(replace(planned, frozen=39 * GB)) == (80,)
    assert fits(replace(planned, frozen=90 * GB)) == ()


def test_a_reference_and_a_critic_are_counted():
    network = Pi0Network(PI0)
    workload = workload_of("pi0", "expert")
    base = plan(workload, network)
    judged = plan(replace(workload, critic_width=64), network)
    # 64 x 512 + 512, 512 x 256 + 256, 256 x 128 + 128, 128 + 1, in float32
    assert judged.trained - base.trained == 4 * (33280 + 131328 + 32896 + 129)
    compared = plan(replace(workload, reference=True), network)
    assert compared.frozen == 2 * base.frozen + base.trained


def test_playing_ahead_takes_a_copy_of_what_is_trained_and_infers_during_the_update():
    due = Workload("pi0", decisions=10)
    planned, ahead = plan(due), plan(replace(due, overlap=True))
    assert ahead.actor == planned.trained
    assert ahead.always == planned.always + planned.trained
    inferring = planned.prefixes + planned.inference
    assert ahead.update == planned.update + planned.trained + inferring
    assert ahead.host == planned.host * 3 // 2
    sharded = plan(replace(due, overlap=True, gpus=8, sharding="full-shard"))
    assert sharded.actor == planned.trained + planned.frozen  # whole on each GPU


def test_advice_is_sorted_and_each_saving_is_a_difference_of_plans():
    workload = Workload("openvla-oft", "all", dtype="float32", images=1, gpus=2, inference_batch=8)
    now, given = plan(workload), advice(workload)
    for saving in given:
        assert saving.gpu == now.peak - plan(saving.workload).peak
    assert [s.gpu for s in given] == sorted((s.gpu for s in given), reverse=True)
    assert {saving.switch for saving in given} == {
        "train LoRA adapters instead of all",
        "compute in bfloat16",
        "compute in bfloat16, with float32 masters",
        "gradient checkpointing",
        "a micro-batch of 16",
        "shard over the 2 GPUs",
    }


def test_advice_names_the_host_where_a_kept_prefix_fills_it():
    workload = Workload("pi0", keep_prefix=True, decisions=1000, inference_batch=1)
    line = next(s.line() for s in advice(workload) if s.switch.startswith("do not keep"))
    assert line.startswith("do not keep prefixes in the rollout: ")
    assert line.endswith("20.6 GB less on the host")


def test_a_saving_says_what_it_costs_elsewhere():
    saving = Saving("x", 2 * GB, -GB, workload_of("pi0", "expert"))
    assert saving.line() == "x: 2.0 GB less on each GPU, 1.0 GB more on the host"


def test_the_table_and_the_json_say_the_same(tmp_path):
    planned = plan(Workload("pi0", images=2, micro_batch=32, inference_batch=64, chunk=5))
    lines = planned.table().splitlines()
    assert lines[0] == ("pi0, expert only, bfloat16, on 1 GPU: micro-batch 32, inference batch 64")
    assert any(line.split() == ["AdamW", "1.3", "GB"] for line in lines)
    assert lines[-1] == "fits: 24 GB yes, 40 GB yes, 80 GB yes"
    assert not any("FSDP" in line for line in lines)
    planned.save(tmp_path / "plan.json")
    stored = json.loads((tmp_path / "plan.json").read_text())
    assert stored["peak"] == planned.peak == max(planned.update, planned.rollout)
    assert stored["fits_gb"] == [24, 40, 80]
    assert stored["workload"]["network"] == "pi0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "openvla-oft"}, "no action expert"),
        ({"micro_batch": 0}, "micro_batch must be >= 1, got 0"),
        ({"dtype": "float32", "master_weights": True}, "dtype must be 'bfloat16'"),
        ({"trained": "all", "keep_prefix": True}, "needs a frozen VLM"),
        (
            {"trained": "lora", "lora": LoRAConfig(rank_of=(("projector", 8),))},
            "no part 'projector' for adapters; pi0 has language, vision, expert",
        ),
    ],
)
def test_nonsense_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Workload(**({"network": "pi0"} | changes))


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="the workload is for pi05, the network is a pi0"):
        plan(Workload("pi05"), Pi0Network(PI0))


def test_a_network_of_other_images_is_refused():
    with pytest.raises(ValueError, match="the workload has 2 images, the network takes 1"):
        plan(workload_of("openvla-oft", "all", images=2), OpenVLANetwork(OPENVLA))
