"""A checkpoint as one policy folder, which anything can read."""

from __future__ import annotations

from pathlib import Path

from pushcut.assembly import remember_instructions
from pushcut.commands.sft import save_from_parts
from pushcut.config import SFTConfig
from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError
from pushcut.learning import checkpoint
from pushcut.learning.sft_checkpoint import STATE
from pushcut.learning.shards import load_policy
from pushcut.policies.base import Policy
from pushcut.policies.places import policy_folder
from pushcut.policies.source import PolicySource
from pushcut.policies.told import read_told
from pushcut.policies.whole import copy_whole
from pushcut.runs.config_json import from_stored, stored_config
from pushcut.system.progress import say


def run_export(run: Path, out: Path | None = None) -> Path:
    """Writes the newest checkpoint of a run as one policy folder, which anything can read.

    Sharded weights are read into one process. UserError in one line.

    Args:
        run: A run, whose newest checkpoint is taken, or one of its checkpoints; also of SFT.
        out: Folder of the policy: config, weights in safetensors, statistics.
    """
    if out is None:
        raise UserError("where should the policy go? give --out policies/NAME")
    if out.exists():
        raise UserError(f"{out} exists; choose another folder with --out")
    source = checkpoint_of(run)
    if (source / checkpoint.SHARDS).exists() and (source / STATE).exists():
        config = from_stored(SFTConfig, stored_config(source.parent.parent), source)
        save_from_parts(config, source, out)
    elif (source / checkpoint.SHARDS).exists():
        policy = stored_policy(source.parent.parent).load()
        load_policy(source / checkpoint.SHARDS, policy)
        if told := read_told(source):
            policy.told = told
        else:  # checkpoints up to 0.2.0 do not have them
            remember_what_was_said(policy, source.parent.parent)
        policy.save_pretrained(out)
    else:
        copy_whole(policy_folder(source), out)
    return out


def remember_what_was_said(policy: Policy, run: Path) -> None:
    """Adds the sentences of a run's training; shards hold weights alone."""
    stored = stored_config(run)
    try:
        env = from_stored(EnvConfig, stored["env"], run / "config.json")
        remember_instructions(policy, env, stored.get("tasks") or ())
    # The weights are worth more; the environment may be of a plug-in that is not here.
    except (UserError, ImportError, OSError, ValueError, KeyError) as error:
        say(f"warning: the policy will not remember what it was told in training: {error}")


def checkpoint_of(path: Path) -> Path:
    """The checkpoint at a path, or the newest of a run; or the policy of a run of SFT."""
    if (path / "progress.json").exists():
        return path.absolute()
    if (path / "policy" / "config.json").exists():  # of a run of SFT, beside its checkpoints
        return path.absolute()
    if next((path / "checkpoints").glob("*/progress.json"), None):
        return checkpoint.latest(path / "checkpoints").absolute()
    return policy_folder(path).absolute()


def stored_policy(run: Path) -> PolicySource:
    """The policy that a run trains, as its config.json describes it."""
    try:
        stored = stored_config(run)["policy"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{run / 'config.json'} does not say what the run trains: {error}"
        ) from None
    return from_stored(PolicySource, stored, run / "config.json")
