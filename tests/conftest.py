"""Fixtures shared by tests of whole commands: a policy fine-tuned on the point mass."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pushcut.commands.collect import run_collect
from pushcut.commands.sft import run_sft
from pushcut.config import TrainConfig
from pushcut.policies.small.flow_vla import FlowConfig
from pushcut.policies.source import StartPolicy, TokenPolicySource
from pushcut.presets import PRESETS, Preset


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Equality to the bit is promised for one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def smoke() -> Preset:
    return PRESETS["smoke"]


@pytest.fixture(scope="session")
def demonstrations(tmp_path_factory, smoke) -> Path:
    out = tmp_path_factory.mktemp("data") / "demonstrations"
    return run_collect(replace(smoke.collect, out=out))


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory, smoke, demonstrations) -> Path:
    """Folder of a policy that sometimes reaches the goal."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run") / "sft"
    return run_sft(replace(smoke.sft, dataset=demonstrations, out=out))


@pytest.fixture(scope="session")
def finetuned_flow(tmp_path_factory, smoke, demonstrations) -> Path:
    """Folder of a small flow policy."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run") / "sft"
    policy = FlowConfig(
        cameras=("top",), image_size=32, width=48, depth=2, heads=4, expert_width=32, chunk=4
    )
    return run_sft(
        replace(smoke.sft, policy=StartPolicy(new=policy), dataset=demonstrations, out=out)
    )


@pytest.fixture
def small_training(smoke, finetuned, tmp_path) -> TrainConfig:
    """Four iterations of two small groups, for speed."""
    return replace(
        smoke.train,
        policy=TokenPolicySource(path=finetuned),
        algorithm=replace(smoke.train.algorithm, group_size=4, groups=2, max_groups=4),
        rollout=replace(smoke.train.rollout, slots=8, workers=1),
        iterations=4,
        patience=10,
        save_every=1,
        trackers=(),
        out=tmp_path / "run",
    )
