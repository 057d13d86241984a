"""What LeRobot does in these tests; its own Python runs this file, which knows nothing of pushcut.

Commands come in lines of JSON, arrays travel in npz files.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import lerobot.processor.tokenizer_processor as tokenizing
import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.configs.policies import PreTrainedConfig
from lerobot.datasets import LeRobotDataset
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

VOCABULARY, VISION = 160, 32


def read_dataset(root: str, out: str) -> None:
    """All frames of a dataset, as LeRobot gives them."""
    dataset = LeRobotDataset("someone/something", root=root, video_backend="pyav")
    rows = [dataset[i] for i in range(len(dataset))]
    arrays: dict[str, Any] = {
        "fps": np.array(dataset.fps),
        "task": np.array([row["task"] for row in rows]),
    }
    for name in ("observation.state", "action", "episode_index", "timestamp"):
        arrays[name] = np.stack([row[name].numpy() for row in rows])
    for name in dataset.meta.camera_keys:
        pictures = torch.stack([row[name] for row in rows]).permute(0, 2, 3, 1)
        arrays[name] = (pictures * 255).round().to(torch.uint8).numpy()
    np.savez(out, **arrays)


def write_dataset(root: str, given: str, videos: bool) -> None:
    """A dataset of the episodes in a file, as one would record it."""
    arrays = dict(np.load(given))
    cameras = [name for name in arrays if name.startswith("observation.images.")]
    features: dict[str, Any] = {
        name: {"dtype": "float32", "shape": arrays[name].shape[1:], "names": None}
        for name in ("observation.state", "action")
    }
    for name in cameras:
        features[name] = {
            "dtype": "video" if videos else "image",
            "shape": arrays[name].shape[1:],
            "names": ["height", "width", "channels"],
        }
    dataset = LeRobotDataset.create(
        "someone/something", fps=10, features=features, root=root, use_videos=videos
    )
    episode = arrays.pop("episode_index")
    for row in range(len(episode)):
        if row and episode[row] != episode[row - 1]:
            dataset.save_episode()
        frame = {name: arrays[name][row] for name in features if name in arrays}
        dataset.add_frame(frame | {"task": str(arrays["task"][row])})
    dataset.save_episode()
    dataset.finalize()


def make_policy(
    folder: str, kind: str, state: int, action: int, cameras: list[str], tokenizer: str
) -> None:
    """A tiny policy with random weights and statistics, saved as LeRobot's training saves one."""
    torch.manual_seed(0)
    shrink(kind, tokenizer)
    inputs = {
        f"observation.images.{name}": PolicyFeature(type=FeatureType.VISUAL, shape=(3, 28, 28))
        for name in cameras
    }
    inputs["observation.state"] = PolicyFeature(type=FeatureType.STATE, shape=(state,))
    config: Any = make_policy_config(
        kind,
        input_features=inputs,
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(action,))},
        empty_cameras=1,
        image_resolution=(28, 28),
        chunk_size=6,
        n_action_steps=4,
        max_state_dim=16,
        max_action_dim=16,
        num_inference_steps=3,
        tokenizer_max_length=96,
        device="cpu",
        push_to_hub=False,
    )
    policy = get_policy_class(kind)(config)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            noise = torch.randn(parameter.shape)
            fan = parameter[0].numel() if parameter.dim() > 1 else 1
            scale = 1.0 if "embed_tokens" in name else fan**-0.5
            parameter.copy_(noise * (scale if parameter.dim() > 1 else 0.1))
    generator = np.random.default_rng(1)
    stats = {
        name: {
            "mean": generator.normal(size=size).astype(np.float32),
            "std": generator.uniform(0.5, 1.5, size).astype(np.float32),
            "q01": generator.uniform(-2, -1, size).astype(np.float32),
            "q99": generator.uniform(1, 2, size).astype(np.float32),
            "min": np.full(size, -3, np.float32),
            "max": np.full(size, 3, np.float32),
        }
        for name, size in (("observation.state", state), ("action", action))
    }
    before, after = make_pre_post_processors(config, dataset_stats=stats)
    policy.save_pretrained(folder)
    before.save_pretrained(folder)
    after.save_pretrained(folder)


def act(folder: str, given: str, out: str, tokenizer: str) -> None:
    """The chunk of actions that a folder's policy predicts, by LeRobot's own loading."""
    config: Any = PreTrainedConfig.from_pretrained(folder)
    config.device = "cpu"
    shrink(config.type, tokenizer)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        policy: Any = get_policy_class(config.type).from_pretrained(folder, config=config)
    # LeRobot prints what it could not load, and goes on.
    if "All keys loaded successfully!" not in told.getvalue():
        raise RuntimeError(f"LeRobot did not load all weights: {told.getvalue()}")
    before, after = make_pre_post_processors(config, pretrained_path=folder)
    arrays = dict(np.load(given))
    task, noise = [str(text) for text in arrays.pop("task")], torch.from_numpy(arrays.pop("noise"))
    policy.model.sample_noise = lambda shape, device: noise
    batch: dict[str, Any] = {"task": task}
    for name, values in arrays.items():
        value = torch.from_numpy(values)
        batch[name] = value.permute(0, 3, 1, 2) / 255 if value.dim() == 4 else value
    np.savez(out, action=after(policy.predict_action_chunk(before(batch))).numpy())


@functools.cache
def shrink(kind: str, tokenizer: str) -> None:
    """Makes LeRobot build networks of a few thousand numbers, and find a small tokenizer."""
    modeling: Any = importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
    sizes = {
        "gemma_2b": modeling.GemmaConfig(32, 2, 48, 2, 1, 16),
        "gemma_300m": modeling.GemmaConfig(24, 2, 32, 2, 1, 16),
    }
    modeling.get_gemma_config = sizes.__getitem__
    whole, expert = (
        modeling.PaliGemmaForConditionalGenerationWithPiGemma,
        modeling.PiGemmaForCausalLM,
    )

    def small(config: Any) -> Any:
        vision, text = config.vision_config, config.text_config
        vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers = VISION, 48, 2
        vision.projection_dim, text.vocab_size = text.hidden_size, VOCABULARY
        text.pad_token_id, config.image_token_index = 0, VOCABULARY - 1
        return whole(config=config)

    def small_expert(config: Any) -> Any:
        config.vocab_size = VOCABULARY
        return expert(config=config)

    modeling.PaliGemmaForConditionalGenerationWithPiGemma = small
    modeling.PiGemmaForCausalLM = small_expert
    content = Tokenizer.from_file(tokenizer)
    first = content.token_to_id("<bos>")
    # As PaliGemma's: BOS in front, nothing behind.
    content.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", first)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=content, bos_token="<bos>", pad_token="<pad>", unk_token="<unk>"
    )
    stand_in: Any = SimpleNamespace(from_pretrained=lambda name, **_: made)
    tokenizing.AutoTokenizer = stand_in


def serve(commands: dict[str, Callable[..., None]]) -> None:
    """Carries out the commands of standard input; answers "done" or what went wrong, as JSON."""
    answers, sys.stdout = sys.stdout, sys.stderr  # LeRobot prints
    for line in sys.stdin:
        arguments = json.loads(line)
        answer = "done"
        try:
            commands[arguments.pop("command")](**arguments)
        except BaseException:
            answer = traceback.format_exc()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve({f.__name__: f for f in (read_dataset, write_dataset, make_policy, act)})
