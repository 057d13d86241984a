"""Loading a pi0-FAST from the folders that LeRobot and pushcut write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pushcut.errors import UserError
from pushcut.policies.adapter_files import WEIGHTS as ADAPTERS
from pushcut.policies.evidence import NOT_YET, PolicyFacts, Shown
from pushcut.policies.networks.gemma import GemmaSizes
from pushcut.policies.networks.gradient_checkpointing import checkpoint_activations
from pushcut.policies.networks.meta_init import meta_init
from pushcut.policies.networks.paligemma import VLMSizes
from pushcut.policies.networks.pi0_fast import Pi0FastNetwork
from pushcut.policies.networks.siglip import SiglipSizes
from pushcut.policies.normalisation import DataStats
from pushcut.policies.released.adapters import adapters_of, base_of
from pushcut.policies.released.camera_order import cameras_of
from pushcut.policies.released.fast import FastCode
from pushcut.policies.released.fast_files import FastFiles, read_fast
from pushcut.policies.released.files import OURS, read_json
from pushcut.policies.released.lerobot_renames import check_renames
from pushcut.policies.released.lerobot_steps import (
    ACTION_TOKENIZING,
    PREPROCESSOR,
    check_steps,
    step_setting,
    tokenizer_name,
)
from pushcut.policies.released.options import ReleasedConfig, tell_stored
from pushcut.policies.released.pi0_agreement import (
    check_resolution,
    digits_of_lerobot,
    horizon_of,
    vector_size,
)
from pushcut.policies.released.pi0_facts import read_facts
from pushcut.policies.released.pi0_fast import Pi0FastConfig, Pi0FastPolicy
from pushcut.policies.released.pi0_fast_folder import fast_sizes, load_fast_network
from pushcut.policies.released.pi0_folder import Pi0Facts, plain_name
from pushcut.policies.released.pi0_loading import BOS, GRIPPER, kept_files, of_sizes
from pushcut.policies.released.prompts import PromptTokenizer
from pushcut.policies.released.scaling import in_convention
from pushcut.policies.released.stated import check_pi0_fast
from pushcut.policies.released.tensors import TensorFolder
from pushcut.policies.released.tokenizer_files import read_tokenizer
from pushcut.policies.released.weight_files import tell_unread

NO_EFFECT = {
    "delta": "LeRobot's pi0-FAST predicts actions",
    "state_in_prompt": "a pi0-FAST always reads its state from the prompt",
}
"""Options that are for other models."""


FACTS = PolicyFacts(
    title="pi0-FAST",
    acts="a sequence of FAST tokens, one after the other",
    folder="LeRobot's (config.json, model.safetensors, processor steps with statistics); "
    "tokenizer.json of PaliGemma; the FAST tokenizer in action_tokenizer/",
    parity=Shown(
        "tokens, codes equal; logits, log-probability, loss within 1e-6",
        ("tests/policies/networks/test_pi0_fast_parity.py",),
    ),
    full_size=Shown("names and shapes", ("tests/policies/networks/test_pi0_fast_parity.py",)),
    gpu=NOT_YET,
)


def load_pi0_fast(
    path: Path,
    description: dict[str, Any],
    options: ReleasedConfig,
    data: DataStats | None = None,
) -> Pi0FastPolicy:
    """Loads the policy in a folder; raises UserError where something is missing or unfit.

    ``data`` takes the place of its own statistics, in the folder that is saved too.
    """
    check_options(path, options)
    facts = read_facts(path, description, options.statistics, replaced=data is not None)
    base = base_of(path)
    content = read_tokenizer(path, options.tokenizer, model=tokenizer_name(path))
    words = PromptTokenizer(content, source=f"{path}'s tokenizer.json", bos=BOS)
    fast = read_fast(path, options.action_tokenizer)
    tensors = TensorFolder.open(base).renamed(plain_name)
    if (path / OURS).exists():
        config = stored_config(path, read_json(path / OURS), options, fast)
    else:
        config = first_config(path, description, facts, tensors, options, fast, data)
        for folder in dict.fromkeys((path, base)):
            tell_unread(folder, [*tensors.files.values(), path / ADAPTERS])
    check_words(words, fast, config)
    if data is not None:
        action = in_convention(data["action"], config.gripper)
        facts = replace(facts, statistics={"state": data["state"], "action": action})
        config = of_sizes(path, config, data)
    files = kept_files(path, facts, config, options, replaced=data is not None)
    with meta_init():
        network = Pi0FastNetwork(config.sizes)
    omitted = load_fast_network(network, tensors)
    adapters = adapters_of(path, network)
    checkpoint_activations(network, options.gradient_checkpointing)
    policy = Pi0FastPolicy(
        config,
        network,
        facts.statistics,
        words,
        fast.tokenizer(),
        files=files | {"tokenizer.json": content} | fast.saved(),
        omitted=omitted,
        compute=options.compute,
        origin=path.absolute() if base == path and adapters is None else None,
    )
    policy.adapters = adapters
    return policy.eval()


def check_options(path: Path, options: ReleasedConfig) -> None:
    """Refuses what would be asked for in vain."""
    for name, why in NO_EFFECT.items():
        if getattr(options, name):
            flag = name.replace("_", "-")
            raise UserError(f"{path}: {why}: leave out --policy.released.{flag}")


def check_words(words: PromptTokenizer, fast: FastFiles, config: Pi0FastConfig) -> None:
    """Refuses a FAST tokenizer whose words do not fit into PaliGemma's."""
    size, room = fast.tokenizer().size, words.own_size - config.skip
    if size > room:
        raise UserError(
            f"{fast.source} has {size} words, PaliGemma has room for {room} (its "
            f"{words.own_size} words without the last {config.skip}): is it a FAST tokenizer of "
            "another vocabulary?"
        )


def first_config(
    path: Path,
    description: Mapping[str, Any],
    facts: Pi0Facts,
    tensors: TensorFolder,
    options: ReleasedConfig,
    fast: FastFiles,
    data: DataStats | None = None,
) -> Pi0FastConfig:
    """Config for a folder that pushcut did not write; ``data`` decides sizes where it is given."""
    check_pi0_fast(path, description)
    check_steps(path)
    check_renames(path, description)
    sizes = fast_sizes(tensors.shapes, path)
    check_resolution(path, description, sizes)
    digits = options.state_digits or digits_of_lerobot(path, description, "pi0-FAST")
    padded = {"state": facts.state_dim or 0, "action": int(description.get("max_action_dim", 32))}
    horizon = horizon_of(path, facts, options)
    taught = step_setting(path, PREPROCESSOR, ACTION_TOKENIZING, "max_action_tokens")
    try:
        return Pi0FastConfig(
            sizes=sizes,
            cameras=cameras_of(path, facts, options),
            image_size=options.image_size or 256,
            state_size=vector_size("state", path, facts, padded["state"], options, data),
            action_size=vector_size("action", path, facts, padded["action"], options, data),
            horizon=horizon,
            chunk=options.chunk or facts.executed or horizon,
            max_tokens=facts.max_tokens or 200,
            padded_state=padded["state"] if digits == "padded" else 0,
            room=int(description.get("max_decoding_steps", 256)),
            room_taught=int(taught or description.get("max_action_tokens", 256)),
            skip=int(description.get("fast_skip_tokens", 128)),
            checks_start=bool(description.get("validate_action_token_prefix", True)),
            code=fast.code,
            gripper=options.gripper or GRIPPER,
            scaling=dict(facts.kinds),
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def stored_config(
    path: Path, ours: Mapping[str, Any], options: ReleasedConfig, fast: FastFiles
) -> Pi0FastConfig:
    """Config that pushcut stored with a policy; executed steps and padded digits may change."""
    try:
        sizes = dict(ours["sizes"])
        restored: dict[str, Any] = {
            "sizes": VLMSizes(
                SiglipSizes(**sizes["vision"]), GemmaSizes(**sizes["vlm"]), sizes["vocab_size"]
            ),
            "cameras": tuple(ours["cameras"]),
            "chunk": options.chunk or ours["chunk"],
            "code": FastCode(**ours["code"]),
        }
        if options.state_digits is not None:
            stated = int(read_json(path / "config.json").get("max_state_dim", 32))
            restored["padded_state"] = stated if options.state_digits == "padded" else 0
        config = Pi0FastConfig(**(dict(ours) | restored))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / OURS} does not describe a pi0-FAST: {error}") from None
    if config.code != fast.code:
        raise UserError(
            f"{fast.source} is a FAST tokenizer of another vocabulary than {path} was trained "
            "with: leave out --policy.released.action-tokenizer"
        )
    found: dict[str, object] = {"horizon": config.horizon, "camera_names": config.cameras}
    tell_stored(path, config, options, shown=found)
    return config
