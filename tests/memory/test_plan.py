"""The arithmetic of the memory plan, and what it says."""

import json
from dataclasses import replace

import pytest

from pushcut.commands.plan import PlanConfig, of_the_phase
from pushcut.errors import UserError
from pushcut.memory import GB, Saving, advice, fits, plan
from pushcut.memory.plan import adamw_bytes
from pushcut.policies.lora import LoRAConfig
from pushcut.presets import PRESETS
from pushcut.ranks.config import RanksConfig
from tests.memory.workloads import OPENVLA, PI0, workload

pytestmark = pytest.mark.heavy

MASTERS = {"master_weights": True}
CHECKPOINTING = {"gradient_checkpointing": True}
EIGHT_GPUS = {"gpus": 8, "ranks": {"weights": "sharded"}}

PEAKS = [
    # The GB that formulas gave before, each written for its network; the cards that fit.
    ("pi0", {}, 12.98, (16, 24, 40, 80)),
    ("pi0", {"trained": "lora", "released": CHECKPOINTING}, 17.19, (24, 40, 80)),
    (
        "pi0",
        {"trained": "all", "released": CHECKPOINTING | MASTERS},
        66.35,
        (80,),
    ),
    ("pi0", {"trained": "all", "released": {"precision": "float32"}}, 195.25, ()),
    ("pi05", {"released": {"precision": "float32"}}, 26.78, (40, 80)),
    ("openvla-oft", {"trained": "lora", "micro_batch": 8}, 36.32, (40, 80)),
    ("openvla-oft", {"micro_batch": 8}, 82.09, ()),
    ("openvla-oft", {"micro_batch": 8, "released": MASTERS}, 160.78, ()),
    (
        "openvla-oft",
        {"micro_batch": 8, "released": CHECKPOINTING | MASTERS, **EIGHT_GPUS},
        32.99,
        (40, 80),
    ),
]


@pytest.mark.parametrize(("network", "changes", "peak", "cards"), PEAKS)
def test_what_is_measured_is_what_was_once_derived(network, changes, peak, cards):
    planned = plan(without_critic(workload(network, **changes)))
    assert planned.peak / GB == pytest.approx(peak, rel=0.06)
    assert fits(planned) == cards


def without_critic(due):
    algorithm = PRESETS["libero-spatial-openvla-oft"].train.algorithm
    return replace(due, train=replace(due.train, algorithm=algorithm))


def test_adamw_of_300_million_float32_parameters_takes_2_4_gb():
    # 300e6 parameters x 4 bytes x 2 moments
    assert adamw_bytes(300_000_000 * 4) == 2_400_000_000


def test_adapters_of_llama_have_rank_times_inputs_and_outputs():
    lora = LoRAConfig(rank_of=(("language", 32),))
    planned = plan(workload("openvla-oft", trained="lora", lora=lora))
    # q, k, v, o: 4 x (4096 + 4096); gate, up, down: 3 x (4096 + 11008); 32 blocks; 2 bytes
    assert planned.trained == 2 * 32 * 32 * (4 * 8192 + 3 * 15104) == 159_907_840
    assert planned.frozen == 2 * 7_541_237_184


def test_master_weights_take_16_bytes_and_plain_bfloat16_8():
    plain = plan(workload("openvla-oft"), OPENVLA)
    doubled = plan(workload("openvla-oft", released=MASTERS), OPENVLA)
    numbers = plain.trained // 2
    assert plain.trained + plain.gradients + plain.optimiser == 8 * numbers
    assert doubled.trained + doubled.gradients + doubled.optimiser == 16 * numbers
    # The weights of linear layers and convolutions, cast.
    assert plain.copies == 0 < doubled.copies < 2 * numbers


def test_a_kept_prefix_fills_the_host():
    kept = plan(workload("pi0", keep_prefix=True))
    not_kept = plan(workload("pi0", keep_prefix=False))
    # 512 streams of 240 / 5 decisions; 18 blocks x 2 (keys, values) x (2 x 256 + 48 tokens) x 256
    # x 2 bytes = 10.3 MB a decision, and its mask, twice while a rollout is packed
    assert kept.host - not_kept.host == 2 * 512 * 48 * (18 * 2 * 560 * 256 * 2 + 560)
    assert kept.reading == 0 < not_kept.reading
    assert kept.prefixes == 3 * not_kept.prefixes


def test_the_host_holds_images_state_bins_and_log_probabilities():
    # 192 groups of 8 episodes of 512 / 8 decisions: an image, 8 numbers of state, 56 bins of
    # 2 bytes, 56 log-probabilities; twice
    host = plan(workload("openvla-oft"), replace(OPENVLA, chunk=8)).host
    assert host == 2 * 192 * 8 * 64 * (256 * 256 * 3 + 32 + 112 + 224)
    # Two images, five points of 12 x 8, four log-probabilities of 5 x 7
    host = plan(workload("pi0", mdp="two-layer"), PI0).host
    assert host == 2 * 512 * 48 * (2 * 256 * 256 * 3 + 32 + 4 * 5 * 96 + 4 * 4 * 35)


def test_sharding_divides_what_is_always_there_and_gathers_blocks():
    whole, shard = plan(workload("openvla-oft")), plan(workload("openvla-oft", **EIGHT_GPUS))
    for name in ("trained", "frozen", "gradients", "optimiser"):
        assert getattr(shard, name) == -(-getattr(whole, name) // 8)
    assert whole.gathered == whole.acting == 0
    # Root: 2 x 32064 x 4096 words, both ways; three blocks of 4 x 4096^2 + 3 x 4096 x 11008.
    least = 4 * 32064 * 4096 + 6 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096)
    assert least < shard.gathered < 1.2 * least
    assert shard.acting == 2 * 7_541_237_184  # played with all of them, in bfloat16
    in_step = {"gpus": 8, "ranks": {"weights": "sharded", "rollouts": "in-step"}}
    assert plan(workload("openvla-oft", **in_step)).acting == shard.gathered


def test_cards_that_are_large_enough_fit():
    planned = plan(workload("pi0"), PI0)
    assert fits(planned) == (8, 16, 24, 40, 80)
    assert fits(replace(planned, frozen=39 * GB)) == (80,)  # what is above 40 GB
    assert fits(replace(planned, frozen=90 * GB)) == ()


def test_a_reference_and_a_critic_are_counted():
    judged = workload("pi0")
    base = plan(without_critic(judged), PI0)
    # pi0's critic sees the expert: 64 x 512 + 512, 512 x 256 + 256, 256 x 128 + 128, 128 + 1
    assert plan(judged, PI0).trained - base.trained == 4 * (33280 + 131328 + 32896 + 129)
    algorithm = replace(without_critic(judged).train.algorithm, kl_coefficient=0.1)
    compared = plan(replace(judged, train=replace(judged.train, algorithm=algorithm)), PI0)
    assert compared.frozen == 2 * base.frozen + base.trained


def test_playing_ahead_takes_a_copy_of_what_is_trained_and_infers_during_the_update():
    planned = plan(workload("pi0"), PI0)
    ahead = plan(workload("pi0", train={"overlap": True}), PI0)
    assert ahead.actor == planned.trained
    inferring = planned.prefixes + planned.inference
    assert ahead.update == planned.update + planned.trained + inferring
    assert ahead.host == planned.host * 3 // 2
    sharded = plan(workload("pi0", train={"overlap": True}, **EIGHT_GPUS), PI0)
    assert sharded.actor == planned.trained + planned.frozen  # whole on each GPU


def test_advice_is_sorted_and_each_saving_is_a_difference_of_plans():
    now = plan(workload("openvla-oft", gpus=2, released={"precision": "float32"}))
    given = advice(now)
    assert given[0].gpu == now.peak - plan(given[0].workload).peak
    assert [s.gpu for s in given] == sorted((s.gpu for s in given), reverse=True)
    assert {saving.switch for saving in given} == {
        "train LoRA adapters instead of all",
        "compute in bfloat16",
        "compute in bfloat16, with float32 masters",
        "gradient checkpointing",
        "a micro-batch of 16",
        "shard over the 2 GPUs",
    }


def test_a_saving_says_what_it_costs_elsewhere():
    saving = Saving("x", 2 * GB, -GB, workload("pi0"))
    assert saving.line() == "x: 2.0 GB less on each GPU, 1.0 GB more on the host"


def test_the_table_and_the_json_say_the_same(tmp_path):
    planned = plan(workload("pi0", inference_batch=64))
    lines = planned.table().splitlines()
    assert lines[0] == "pi0, expert only, bfloat16, on 1 GPU: micro-batch 32, inference batch 64"
    assert any(line.split() == ["AdamW", "1.3", "GB"] for line in lines)
    assert lines[-1] == "fits: 8 GB no, 16 GB yes, 24 GB yes, 40 GB yes, 80 GB yes"
    assert not any("FSDP" in line for line in lines)
    planned.save(tmp_path / "plan.json")
    stored = json.loads((tmp_path / "plan.json").read_text())
    assert stored["peak"] == planned.peak == max(planned.update, planned.rollout)
    assert stored["fits_gb"] == [16, 24, 40, 80]
    assert stored["workload"]["network"] == "pi0"


def test_the_older_word_for_sharding_goes_on_working():
    preset = PRESETS["libero-long-openvla-oft"]
    config = replace(PlanConfig.of(preset), gpus=8, sharding="full-shard")
    assert config.workload.sharded
    assert not replace(config, sharding=None).workload.sharded


def phase_of(preset: str, phase: str, **fields):
    config = replace(PlanConfig.of(PRESETS[preset]), phase=phase, **fields)
    return plan(config.workload)


@pytest.mark.parametrize("phase", ["sft", "train", "eval"])
def test_smolvla_is_trained_on_a_card_of_8_gb(phase):
    planned = phase_of("libero-spatial-smolvla-flow-sde", phase)
    assert 2 * GB < planned.peak < 8 * GB and fits(planned) == (8, 16, 24, 40, 80)


def test_fine_tuning_smolvlas_expert_trains_its_projection_of_the_state_through_the_vlm():
    # state_proj, 33 x 960 numbers, is the VLM's side of what is trained: 8 bytes of moments each.
    tuned = phase_of("libero-spatial-smolvla-flow-sde", "sft")
    trained = phase_of("libero-spatial-smolvla-flow-sde", "train")
    critic = trained.trained - (tuned.trained - 4 * 33 * 960)
    assert 0 < critic < 3_000_000
    assert tuned.held == tuned.reading == 0 < trained.reading


RELEASED = (
    "libero-spatial-pi0-flow-sde",
    "libero-spatial-pi05-flow-sde",
    "libero-long-openvla-oft",
)


@pytest.mark.parametrize("preset", RELEASED)
def test_fine_tuning_of_the_presets_fits_a_card_of_80_gb(preset):
    planned = phase_of(preset, "sft")
    assert planned.peak < 80 * GB
    assert 80 in fits(planned)
    assert planned.prefixes == planned.inference == planned.host == planned.machine.simulators == 0
    assert planned.gradients > 0 < planned.activations
    whole = replace(PRESETS[preset].sft.fit, micro_batch=0)
    released = replace(PRESETS[preset].sft.policy.released, gradient_checkpointing=False)
    before = replace(
        PRESETS[preset].sft,
        fit=whole,
        policy=replace(PRESETS[preset].sft.policy, released=released),
    )
    # What the presets were: batches of 32 at once, nothing computed again.
    assert phase_of(preset, "sft", sft=before).peak > 1.5 * planned.peak


def test_an_average_takes_four_bytes_a_number_and_ranks_share_a_batch():
    preset = PRESETS[RELEASED[0]]
    plain = phase_of(RELEASED[0], "sft")
    averaged = replace(preset.sft, fit=replace(preset.sft.fit, ema=0.99))
    more = phase_of(RELEASED[0], "sft", sft=averaged)
    assert more.averages == more.always - plain.always == plain.trained  # float32 masters
    whole = replace(preset.sft, fit=replace(preset.sft.fit, micro_batch=0))
    config = replace(PlanConfig.of(preset), phase="sft", sft=whole, gpus=8)
    assert config.workload.train.learner.micro_batch == 4  # of 32


def test_evaluation_holds_one_policy_without_masters_and_its_simulators():
    planned = phase_of("libero-long-openvla-oft", "eval")
    assert planned.trained == planned.gradients == planned.optimiser == planned.copies == 0
    assert planned.frozen == 2 * 7_541_237_184
    assert planned.peak == planned.rollout == planned.always + planned.inference
    assert planned.machine.disk == planned.machine.saving == 0
    assert planned.host_peak == planned.machine.simulators + planned.machine.loading


def test_simulators_take_their_processes_and_the_tasks_that_each_keeps():
    due = workload("openvla-oft", gpus=2)
    rollout = replace(due.train.rollout, workers=6)
    machine = plan(replace(due, train=replace(due.train, rollout=rollout)), OPENVLA).machine
    assert machine.processes == 12
    assert machine.simulators == 12 * (410 + 2 * 1050) * 10**6  # libero_spatial has 10 tasks
    for asked, kept in ((1, 1), (100, 10)):
        more = replace(rollout, tasks_per_process=asked)
        machine = plan(replace(due, train=replace(due.train, rollout=more)), OPENVLA).machine
        assert machine.simulators == 12 * (410 + kept * 1050) * 10**6


def test_the_disk_holds_what_is_kept_the_best_and_what_is_being_written():
    due = workload("openvla-oft", trained="lora", released=MASTERS)
    planned = plan(replace(due, train=replace(due.train, keep=3)), OPENVLA)
    # Adapters to the bit and two moments of them: 12 bytes a number.
    numbers = planned.trained // 4
    assert planned.machine.checkpoint == 12 * numbers
    # Merged, the default, the policy at the end has the adapted layers in float32.
    end = planned.machine.disk - 5 * 12 * numbers - planned.frozen
    assert 1.5 * planned.frozen < end < 2 * planned.frozen
    policy = replace(due.train.policy, lora=replace(due.train.policy.lora, saved="separate"))
    apart = plan(replace(due, train=replace(due.train, keep=1, policy=policy)), OPENVLA)
    assert apart.machine.checkpoint == 12 * numbers
    assert apart.machine.disk == 3 * 12 * numbers + 2 * planned.frozen


def test_shards_share_what_is_frozen_and_are_never_whole_on_the_disk():
    due = workload("openvla-oft", trained="lora", released=MASTERS, **EIGHT_GPUS)
    planned = plan(replace(due, train=replace(due.train, keep=3)), OPENVLA)
    alone = plan(workload("openvla-oft", trained="lora", released=MASTERS), OPENVLA)
    # Adapters are apart in shards, whatever a policy's folder has.
    assert planned.machine.checkpoint == 3 * alone.trained  # and two moments of each
    assert planned.machine.disk == 5 * planned.machine.checkpoint + alone.frozen
    assert planned.machine.saving == planned.machine.checkpoint + alone.frozen
    assert planned.machine.loading < alone.machine.loading // 4


def test_each_checkpoint_of_sharded_fine_tuning_has_moments_and_averages():
    preset = PRESETS["libero-spatial-pi0-flow-sde"]
    sft = replace(preset.sft, save_every=1000, fit=replace(preset.sft.fit, steps=2500, ema=0.99))
    sft = replace(sft, policy=replace(sft.policy, trained="all"))
    due = replace(PlanConfig.of(preset), phase="sft", sft=sft, gpus=8).workload
    train = replace(due.train, ranks=RanksConfig(weights="sharded"))
    machine = plan(replace(due, train=train)).machine
    alone = plan(replace(due, gpus=1))
    assert machine.checkpoint == alone.machine.checkpoint
    own = machine.saving - alone.frozen
    assert own > 1.3 * machine.checkpoint  # averages
    # Of steps 1000, 2000 and 2500; and the policy's file at the end.
    assert machine.disk == 3 * own + alone.frozen + alone.machine.saving


def test_a_plan_takes_the_flags_of_the_command_that_it_plans():
    assert of_the_phase(["--learner.micro-batch", "4", "--gpus", "2", "--out=plan.json"]) == [
        "--train.learner.micro-batch", "4", "--gpus", "2", "--out=plan.json",
    ]  # fmt: skip
    typed = ["p", "--fit.micro-batch=4", "--phase", "sft", "--sft.fit.steps", "3", "--help"]
    assert of_the_phase(typed) == [
        "p", "--sft.fit.micro-batch=4", "--phase", "sft", "--sft.fit.steps", "3", "--help",
    ]  # fmt: skip
    assert of_the_phase(["--phase=eval", "--no-overlap", "--workers", "2"]) == [
        "--phase=eval", "--eval.no-overlap", "--workers", "2",
    ]  # fmt: skip
    assert of_the_phase(["--train.learner.micro-batch", "4"]) == [
        "--train.learner.micro-batch", "4",
    ]  # fmt: skip


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="a flow policy, which openvla-oft is not"):
        replace(workload("pi0"), network="openvla-oft")
    with pytest.raises(ValueError, match="gpus must be >= 1, got 0"):
        workload("pi0", gpus=0)
    lora = LoRAConfig(rank_of=(("projector", 8),))
    with pytest.raises(UserError, match="no part 'projector' for adapters; this policy has lang"):
        plan(workload("pi0", trained="lora", lora=lora), PI0)
