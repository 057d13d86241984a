"""Processor steps in folders of LeRobot: what they do to states, actions and camera names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from pushcut.errors import UserError
from pushcut.policies.normalisation import DataStats, NormStats
from pushcut.policies.released.files import read_json
from pushcut.system.progress import say

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"
NORMALISER, UNNORMALISER = "normalizer_processor", "unnormalizer_processor"
RENAMING = "rename_observations_processor"
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
EMPTY = "empty_camera_"

RELATIVE = ("relative_actions_processor", "absolute_actions_processor")
"""Steps that do nothing unless they are enabled: LeRobot 0.5.1 and later write them always."""

KNOWN = (
    RENAMING,
    "to_batch_processor",
    "pi0_new_line_processor",
    "pi05_prepare_state_tokenizer_processor_step",
    "tokenizer_processor",
    "device_processor",
    NORMALISER,
    UNNORMALISER,
    *RELATIVE,
)
"""Steps whose work pushcut does itself."""

TOKENIZER = "google/paligemma-3b-pt-224"
"""Where LeRobot finds the tokenizer of pi0 and pi0.5."""


def check_steps(path: Path) -> None:
    """Refuses steps that pushcut would pass over; says so where cameras are renamed."""
    for step in _all_steps(path):
        name, config = _name(step), step.get("config") or {}
        if name not in KNOWN or (name in RELATIVE and config.get("enabled")):
            raise UserError(
                f"{path} has the processor step {name}, which pushcut does not do: use a "
                "checkpoint without it"
            )
        if (mode := (config.get("norm_map") or {}).get("VISUAL", "IDENTITY")) != "IDENTITY":
            raise UserError(f"{path} scales its images ({mode}), which pushcut does not do")
        if renamed := config.get("rename_map"):
            names = ", ".join(f"{ours} as {theirs}" for ours, theirs in renamed.items())
            say(
                f"{path} knows {names}; its cameras go by the second names here: give the "
                "environment's with --policy.released.cameras where they differ"
            )


def step_modes(path: Path) -> dict[str, str]:
    """How the steps scale STATE and ACTION, where they say it: they rule, not config.json."""
    modes = {}
    for file, name, kind in (
        (PREPROCESSOR, NORMALISER, "STATE"),
        (POSTPROCESSOR, UNNORMALISER, "ACTION"),
    ):
        for step in _steps(path / file):
            mode = (step.get("config", {}).get("norm_map") or {}).get(kind)
            if _name(step) == name and mode is not None:
                modes[kind] = str(mode)
    return modes


def read_statistics(path: Path) -> dict[str, NormStats]:
    """Statistics of "state" and "action" in the (un)normaliser steps; empty where there are none.

    The state's are the preprocessor's, the action's the postprocessor's where it has some.
    """
    before = _tensors(path, PREPROCESSOR, NORMALISER)
    after = _tensors(path, POSTPROCESSOR, UNNORMALISER)
    found = {}
    for own, theirs, places in (
        ("state", f"{STATE}.", (before,)),
        ("action", f"{ACTION}.", (after, before)),
    ):
        for tensors in places:
            values = {
                name.removeprefix(theirs): tensor.flatten().tolist()
                for name, tensor in tensors.items()
                if name.startswith(theirs)
            }
            if values and own not in found:
                found[own] = NormStats.of(values)
    return found


def pads_state(path: Path, config: Mapping[str, Any]) -> bool | None:
    """Whether pi0.5's state was padded before it became digits of the prompt.

    LeRobot 0.4 did so, 0.5 and later do not. Which of them made a folder is told by the settings
    that are newer (the wheels 0.4.0 to 0.6.1 were compared); None where they do not tell. Without
    statistics a folder is a conversion of openpi's weights, and openpi does not pad.
    """
    training = path / "train_config.json"
    settings = read_json(training) if training.exists() else None
    newer = "use_relative_actions" in config or any(
        _name(step) in RELATIVE for step in _all_steps(path)
    )
    if newer or not read_statistics(path):
        return False
    if settings is not None:
        return "cudnn_deterministic" not in settings
    return True if "use_peft" not in config else None


def camera_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the cameras in a config.json, in the model's order, without the empty ones."""
    return tuple(
        name.removeprefix(IMAGES)
        for name in _pictures(config["input_features"])
        if EMPTY not in name
    )


def for_robot(
    files: Mapping[str, bytes], *, cameras: Sequence[str], statistics: DataStats | None
) -> dict[str, bytes]:
    """The small files of a folder, for a robot with other cameras or numbers.

    Args:
        files: The files by their paths.
        cameras: The environment's cameras in the model's order.
        statistics: New statistics of "state" and "action", and so the sizes; None keeps both.
    """
    config = json.loads(files["config.json"])
    pictures = list(_pictures(config["input_features"]))
    config["input_features"] = _with_cameras(config["input_features"], cameras)
    config["empty_cameras"] = max(len(pictures) - len(cameras), 0)
    if statistics is not None:
        _resize(config, statistics["state"].size, statistics["action"].size)
    features = (config["input_features"], config["output_features"])
    written = dict(files)
    for file, name in ((PREPROCESSOR, NORMALISER), (POSTPROCESSOR, UNNORMALISER)):
        if file not in files and statistics is None:
            continue
        content: dict[str, Any] = {"steps": usual_steps(config, file)}
        if file in files:
            content = json.loads(files[file])
        content["name"] = file.removesuffix(".json")
        for step in content["steps"]:
            _retarget(step, pictures, resized=statistics is not None)
        step = _normalising(content["steps"], name, needed=statistics is not None)
        if step is not None:
            _set_features(step, config, features if name == NORMALISER else features[1:])
        if step is not None and statistics is not None:
            written.pop(step.get("state_file", ""), None)
            at = content["steps"].index(step)
            step["state_file"] = f"{content['name']}_step_{at}_{name}.safetensors"
            written[step["state_file"]] = save(_as_tensors(statistics))
        written[file] = _json(content)
    return written | {"config.json": _json(config)}


def _pictures(features: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, feature in features.items() if feature["type"] == "VISUAL")


def _with_cameras(features: Mapping[str, Any], cameras: Sequence[str]) -> dict[str, Any]:
    """Input features with the cameras' names first come, first served; the rest become empty."""
    missing = max(len(list(_pictures(features))) - len(cameras), 0)
    names = iter([*cameras, *(f"{EMPTY}{i}" for i in range(missing))])
    return {
        f"{IMAGES}{next(names)}" if feature["type"] == "VISUAL" else name: feature
        for name, feature in features.items()
    }


def _resize(config: dict[str, Any], state_size: int, action_size: int) -> None:
    """Gives state and action of a config.json the sizes, and forgets the old joints' names."""
    config["input_features"][STATE] = {"type": "STATE", "shape": [state_size]}
    config["output_features"] = {ACTION: {"type": "ACTION", "shape": [action_size]}}
    if "action_feature_names" in config:
        config["action_feature_names"] = None


def _retarget(step: dict[str, Any], pictures: Sequence[str], *, resized: bool) -> None:
    """Forgets what a step knew of the old robot: renamed cameras and names of joints."""
    config = step.get("config") or {}
    if "rename_map" in config:
        kept = {ours: t for ours, t in config["rename_map"].items() if t not in pictures}
        config["rename_map"] = kept
    if resized and "action_names" in config:
        config["action_names"] = None


def _normalising(steps: list[dict[str, Any]], name: str, *, needed: bool) -> dict[str, Any] | None:
    """The step that (un)normalises; where there is none and it is needed, it is put in."""
    for step in steps:
        if _name(step) == name:
            return step
    if not needed:
        return None
    before = ("to_batch_processor", RELATIVE[0])
    at = max((i + 1 for i, step in enumerate(steps) if _name(step) in before), default=0)
    steps.insert(at, {"registry_name": name, "config": {"eps": 1e-8}})
    return steps[at]


def _set_features(
    step: dict[str, Any], config: Mapping[str, Any], features: Sequence[Mapping[str, Any]]
) -> None:
    """Lists in a step the features that it scales, and how."""
    settings = step.setdefault("config", {})
    settings["features"] = {name: feature for group in features for name, feature in group.items()}
    mapping = config.get("normalization_mapping")
    settings["norm_map"] = settings.get("norm_map") or mapping or _usual_modes(config)


def _usual_modes(config: Mapping[str, Any]) -> dict[str, str]:
    mode = usual_mode(config)
    return {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}


def usual_mode(config: Mapping[str, Any]) -> str:
    """How LeRobot's pi0 or pi0.5 scales where nothing else is said."""
    return "QUANTILES" if config["type"] == "pi05" else "MEAN_STD"


def usual_steps(config: Mapping[str, Any], file: str) -> list[dict[str, Any]]:
    """LeRobot's steps for a pi0 or pi0.5, without the (un)normaliser."""
    if file == POSTPROCESSOR:
        return [_step("device_processor", device="cpu", float_dtype=None)]
    pi05 = config["type"] == "pi05"
    prompt = "pi05_prepare_state_tokenizer_processor_step" if pi05 else "pi0_new_line_processor"
    return [
        _step(RENAMING, rename_map={}),
        _step("to_batch_processor"),
        _step(prompt),
        _step(
            "tokenizer_processor",
            max_length=config.get("tokenizer_max_length") or (200 if pi05 else 48),
            task_key="task",
            padding_side="right",
            padding="max_length",
            truncation=True,
            tokenizer_name=TOKENIZER,
        ),
        _step("device_processor", device=config.get("device") or "cpu", float_dtype=None),
    ]


def _step(name: str, **config: Any) -> dict[str, Any]:
    return {"registry_name": name, "config": config}


def _as_tensors(statistics: DataStats) -> dict[str, torch.Tensor]:
    return {
        f"{feature}.{name}": torch.tensor(value)
        for feature, own in ((STATE, "state"), (ACTION, "action"))
        for name, value in statistics[own].by_name().items()
    }


def _tensors(path: Path, file: str, name: str) -> dict[str, torch.Tensor]:
    """Tensors of the step of this name, or of the first step that has some."""
    stateful = [step for step in _steps(path / file) if "state_file" in step]
    stateful.sort(key=lambda step: _name(step) != name)
    if not stateful:
        return {}
    state_file = path / stateful[0]["state_file"]
    try:
        return load_file(state_file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{state_file} is damaged or missing: {error}") from None


def _all_steps(path: Path) -> list[dict[str, Any]]:
    return _steps(path / PREPROCESSOR) + _steps(path / POSTPROCESSOR)


def _steps(file: Path) -> list[dict[str, Any]]:
    return read_json(file).get("steps", []) if file.exists() else []


def _name(step: Mapping[str, Any]) -> str:
    """A step's registered name, or that of its class."""
    return str(step.get("registry_name") or step.get("class") or "without a name")


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
