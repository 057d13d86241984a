"""Presets of both papers with the papers' own backbones, every column of their tables.

SimpleVLA-RL, appendix F.3 (group and mini-batch of its text, filter and schedule of its released
scripts); pi_RL, appendix J, tables 11 (LIBERO), 12 (SIMPLER, ManiSkill) and 13 (MetaWorld,
CALVIN). What neither says is marked. They want a GPU of 80 GB or several, and a checkpoint:
`--policy.path FOLDER`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pushcut.algorithms.grpo import GRPO
from pushcut.algorithms.ppo import PPO
from pushcut.config import EvaluationConfig, RolloutConfig, SFTConfig, TrainConfig
from pushcut.envs.base import EnvConfig
from pushcut.envs.calvin.env import CalvinConfig
from pushcut.envs.libero.env import LiberoConfig
from pushcut.envs.maniskill.put_on_plate.env import PutOnPlateConfig
from pushcut.envs.maniskill.simpler.env import SimplerConfig
from pushcut.envs.maniskill.simpler.tasks import FIXED_INITS
from pushcut.envs.maniskill.widowx.env import CAMERA as WIDOWX_CAMERA
from pushcut.envs.metaworld.env import MetaWorldConfig
from pushcut.learning.learner import LearnerConfig
from pushcut.learning.sft import FitConfig
from pushcut.policies.lora import LoRAConfig
from pushcut.policies.released.options import ReleasedConfig
from pushcut.policies.source import FlowPolicySource, StartPolicy, TokenPolicySource
from pushcut.policies.value_head import CriticConfig
from pushcut.presets.base import Preset, preset
from pushcut.presets.vla_columns import (
    CALVIN,
    CALVIN_SCENES,
    COSINE_ITERATIONS,
    LIBERO,
    METAWORLD,
    METAWORLD_IMAGE_SIZE,
    METAWORLD_ML45,
    PUT_ON_PLATE,
    SIMPLER,
    SIMPLER_TASKS,
    Column,
    Model,
)
from pushcut.presets.vla_sources import (
    SIMPLEVLA_RL_SOURCES,
    pi_rl_sources,
    put_on_plate_sources,
)

IMAGE_SIZE = 256
"""Images of the data that the checkpoints were trained on."""

SUITES = {"spatial": "spatial", "object": "object", "goal": "goal", "long": "10"}
"""The papers' columns -> LIBERO's names; SimpleVLA-RL also trains on libero_90 (appendix D)."""

ROLLOUT = RolloutConfig(slots=64, inference_batch=32, timeout_s=180.0)
"""pi_RL: 64 parallel environments; the batch is ours."""

FlowModel = Model | Literal["groot"]
Noise = Literal["flow-sde", "flow-noise"]


def openvla_oft(suite: str) -> Preset:
    """SimpleVLA-RL on a suite of LIBERO; what appendix D leaves open of libero_90 is as in F.3."""
    released = ReleasedConfig(
        cameras=("agentview",),
        image_size=IMAGE_SIZE,
        chunk=8,
        statistics=f"libero_{suite}",
        precision="bfloat16",
    )
    env = LiberoConfig(
        tasks=(f"libero_{suite}",), image_size=IMAGE_SIZE, max_steps=512, render="stock"
    )
    return preset(
        f"OpenVLA-OFT on libero_{suite}: action tokens, GRPO (SimpleVLA-RL, "
        f"{'D' if suite == '90' else 'F.3'})",
        env,
        demonstrations=50,
        sft=SFTConfig(
            # OpenVLA-OFT's own: rank 32, 5e-4; steps and batch are ours.
            policy=StartPolicy(
                released=replace(released, gradient_checkpointing=True),
                trained="lora",
                lora=LoRAConfig(rank=32, alpha=16),
            ),
            fit=FitConfig(
                steps=50_000,
                batch_size=32,
                micro_batch=8,
                lr=5e-4,
                warmup_steps=500,
                augment="openvla",
                tail="drop",
            ),
        ),
        train=TrainConfig(
            env,
            policy=TokenPolicySource(released=released, temperature=1.6),
            algorithm=GRPO(
                group_size=8, groups=64, max_groups=192, min_success=0.1, max_success=0.9
            ),
            learner=LearnerConfig(
                lr=5e-6,
                betas=(0.9, 0.999),
                warmup_iterations=0,
                minibatches=4,  # 512 trajectories in mini-batches of 128
                minibatch_size=128,
                micro_batch=8,
                recompute_logprob=True,
            ),
            rollout=ROLLOUT,
            # About 500 episodes; libero_90 has 90 tasks.
            evaluation=EvaluationConfig(episodes_per_task=5 if suite == "90" else 50, every=4),
            iterations=100,
        ),
        episodes_per_task=50,
        network="openvla-oft",
        sources=SIMPLEVLA_RL_SOURCES,
    )


def openpi_fine_tuning(released: ReleasedConfig) -> SFTConfig:
    """As openpi fine-tunes its models; steps, batch and micro-batch are ours."""
    return SFTConfig(
        policy=StartPolicy(released=replace(released, gradient_checkpointing=True)),
        fit=FitConfig(
            steps=30_000,
            batch_size=32,
            micro_batch=16,
            lr=2.5e-5,
            warmup_steps=1000,
            augment="openpi",
            tail="repeat",
        ),
    )


def flow(
    summary: str,
    env: EnvConfig,
    released: ReleasedConfig,
    model: FlowModel,
    noise: Noise,
    column: Column,
    table: str,
    episodes_per_task: int = 50,
) -> Preset:
    """pi_RL with one of its models on one of its benchmarks."""
    return preset(
        summary,
        env,
        demonstrations=50,
        sft=openpi_fine_tuning(released),
        train=TrainConfig(
            env,
            policy=FlowPolicySource(
                released=released,
                num_steps=column.num_steps,
                noise=noise,
                noise_level=column.noise_level,
                std_bounds=column.std_bounds,
                entropy_terms="all",
                # 10 MB of keys and values for each of 25,000 decisions would not fit.
                keep_prefix=False,
            ),
            algorithm=PPO(
                episodes=column.episodes,
                aggregation="trajectory",
                bootstrap_on_truncation=False,
                entropy_coefficient=0.005 if noise == "flow-noise" else 0.0,
            ),
            critic=CriticConfig(
                placement="expert" if model == "pi0" else "vlm",
                hidden=column.hidden,
                init="kaiming",
                lr=column.critic_lr,
                scheduled=column.cosine,
            ),
            learner=LearnerConfig(
                lr=column.lr,
                betas=(0.9, 0.95),
                warmup_iterations=0,
                grad_clip=column.grad_clip,
                epochs=column.epochs,
                minibatches=column.optimiser_steps,
                micro_batch=32,
                decay_iterations=COSINE_ITERATIONS if column.cosine else 0,
                decay_floor=column.floor,
            ),
            rollout=ROLLOUT,
            evaluation=EvaluationConfig(episodes_per_task=50, every=20),
            iterations=column.iterations,
        ),
        episodes_per_task=episodes_per_task,
        network=model,
        sources=pi_rl_sources(f"pi_RL, {table}"),
    )


def both_cameras(tasks: str, max_steps: int) -> LiberoConfig:
    """Tasks of LIBERO as pi_RL plays them: both cameras, drawn as LIBERO draws them."""
    return LiberoConfig(
        tasks=(tasks,),
        image_size=IMAGE_SIZE,
        cameras=("agentview", "wrist"),
        max_steps=max_steps,
        render="stock",
    )


def pi_libero(model: Model, suite: str, noise: Noise) -> Preset:
    """A column of table 11; as read by openpi's pi0_libero and pi05_libero."""
    column, own = LIBERO[model][suite], f"libero_{SUITES[suite]}"
    released = ReleasedConfig(
        cameras=("agentview", "wrist"),
        image_size=IMAGE_SIZE,
        chunk=column.chunk,
        horizon=column.horizon,
        gripper="plus_closes",
        state_size=8,
        action_size=7,
        delta=True if model == "pi0" else None,
        state_in_prompt=False if model == "pi05" else None,
        precision="bfloat16",
    )
    env = both_cameras(own, column.max_steps)
    summary = f"{model} on {own}: {noise}, PPO (pi_RL, table 11)"
    return flow(summary, env, released, model, noise, column, "table 11")


def pi_metaworld(model: Model, noise: Noise, tasks: str = "mt50") -> Preset:
    """A column of table 13 (MT50), or the same for the 45 training tasks of ML45.

    Camera, size of the images and sentences are those of lerobot/metaworld_mt50, which the
    checkpoints were fine-tuned on.
    """
    table, title = ("table 13", "MT50") if tasks == "mt50" else ("appendix D.3", "ML45")
    column = METAWORLD[model] if tasks == "mt50" else METAWORLD_ML45[model]
    released = ReleasedConfig(
        cameras=("corner2",),
        image_size=METAWORLD_IMAGE_SIZE,
        state_size=4,
        action_size=4,
        chunk=column.chunk,
        horizon=column.horizon,
        gripper="plus_closes",
        state_in_prompt=False if model == "pi05" else None,
        precision="bfloat16",
    )
    env = MetaWorldConfig(
        tasks=(tasks,),
        instructions="lerobot",
        image_size=METAWORLD_IMAGE_SIZE,
        max_steps=column.max_steps,
        action_repeat=1,
        render="stock",
    )
    summary = f"{model} on MetaWorld {title}: {noise}, PPO (pi_RL, {table})"
    return flow(summary, env, released, model, noise, column, table)


def pi_ml45(model: Model, noise: Noise) -> Preset:
    """Trained on ML45's 45 tasks, evaluated on the five others."""
    made = pi_metaworld(model, noise, "ml45-train")
    assert isinstance(made.eval.env, MetaWorldConfig)
    unseen = replace(made.eval.env, tasks=("ml45-test",))
    return replace(made, eval=replace(made.eval, env=unseen))


def widowx(model: Model, column: Column) -> ReleasedConfig:
    """What a checkpoint for the WidowX of SIMPLER and PutOnPlate sees and does."""
    return ReleasedConfig(
        cameras=(WIDOWX_CAMERA,),
        image_size=640,
        state_size=8,
        action_size=7,
        chunk=column.chunk,
        horizon=column.horizon,
        gripper="plus_opens",
        state_in_prompt=False if model == "pi05" else None,
        precision="bfloat16",
    )


def pi_put_on_plate(model: Model, noise: Noise) -> Preset:
    """ManiSkill's column of table 12, as the program has it: streams of episodes, every end valued.

    Of demonstrations the paper has 16,384, each with 15 frames after the success.
    """
    column = PUT_ON_PLATE[model]
    env = PutOnPlateConfig(max_steps=column.max_steps, reward="rlinf")
    summary = f"{model} on PutOnPlateInScene25: {noise}, PPO (pi_RL, table 12)"
    made = flow(summary, env, widowx(model, column), model, noise, column, "table 12")
    algorithm = made.train.algorithm
    assert isinstance(algorithm, PPO)
    streams = replace(
        algorithm,
        aggregation="decision",
        bootstrap="always",
        bootstrap_on_truncation=True,
        stream_decisions=column.max_steps // column.chunk,
    )
    return replace(
        made,
        collect=replace(made.collect, episodes_per_task=16_384, hold_frames=15),
        train=replace(made.train, algorithm=streams),
        eval=replace(made.eval, episodes_per_task=320),
        sources={**made.sources, **put_on_plate_sources()},
    )


def pi_simpler(model: Model, task: str, noise: Noise) -> Preset:
    """A column of table 12; evaluated on the benchmark's own 24 states."""
    column, own = SIMPLER[model][task], SIMPLER_TASKS[task]
    released = widowx(model, column)
    env = SimplerConfig(tasks=(own,), max_steps=column.max_steps)
    summary = f"{model} on SIMPLER's {task}: {noise}, PPO (pi_RL, table 12)"
    return flow(summary, env, released, model, noise, column, "table 12", FIXED_INITS)


def pi_calvin(model: Model, noise: Noise, protocol: str) -> Preset:
    """A column of table 13; evaluated on the benchmark's chains, with its time for each sub-task.

    What the checkpoints see is drawn with OpenGL; the critic reads the VLM, as for the others.
    """
    column = CALVIN[model]
    scenes, wording = CALVIN_SCENES[protocol]
    env = CalvinConfig(scene=scenes, wording=wording, max_steps=column.max_steps, renderer="egl")
    released = ReleasedConfig(
        cameras=env.cameras,
        image_size=env.image_size,
        state_size=7,
        action_size=7,
        chunk=column.chunk,
        horizon=column.horizon,
        gripper="plus_opens",
        state_in_prompt=False if model == "pi05" else None,
        precision="bfloat16",
    )
    summary = f"{model} on CALVIN {protocol.upper()}: {noise}, PPO (pi_RL, table 13)"
    made = flow(summary, env, released, model, noise, column, "table 13", 1000)
    played = CalvinConfig(renderer="egl")
    return replace(made, eval=replace(made.eval, env=played))


MODELS: tuple[Model, ...] = ("pi0", "pi05")
NOISES: tuple[Noise, ...] = ("flow-sde", "flow-noise")

SIMPLEVLA_RL = {
    f"libero-{suite}-openvla-oft": openvla_oft(name)
    for suite, name in {**SUITES, "90": "90"}.items()
}

PI_RL = (
    {
        f"libero-{suite}-{model}-{noise}": pi_libero(model, suite, noise)
        for suite in SUITES
        for model in MODELS
        for noise in NOISES
    }
    | {
        f"metaworld-{tasks}{model}-{noise}": make(model, noise)
        for tasks, make in {"": pi_metaworld, "ml45-": pi_ml45}.items()
        for model in MODELS
        for noise in NOISES
    }
    | {
        f"calvin-{protocol}-{model}-{noise}": pi_calvin(model, noise, protocol)
        for protocol in CALVIN_SCENES
        for model in MODELS
        for noise in NOISES
    }
    | {
        f"put-on-plate-{model}-{noise}": pi_put_on_plate(model, noise)
        for model in MODELS
        for noise in NOISES
    }
    | {
        f"simpler-{task}-{model}-{noise}": pi_simpler(model, task, noise)
        for task in SIMPLER_TASKS
        for model in MODELS
        for noise in NOISES
    }
)
