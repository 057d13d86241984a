"""Policy folders as other programs expect them, made of the folder in a checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

from pushcut.errors import UserError
from pushcut.policies.adapter_files import CONFIG, WEIGHTS, with_adapters
from pushcut.policies.released.tensors import TensorFolder, save_tensors
from pushcut.policies.tensor_files import INDEX, in_parts, weight_files


def copy_whole(folder: Path, out: Path) -> None:
    """Copies a policy's folder, with weights in the files that other programs expect.

    A checkpoint has those apart that are not trained, and adapters, which are merged here.
    UserError where the copy fails; nothing is left of it then, and ``out`` is there once it is
    complete.
    """
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        if in_parts(folder):
            parts = [file.name for file in weight_files(folder)]
            left = shutil.ignore_patterns(INDEX, CONFIG, WEIGHTS, *parts)
            shutil.copytree(folder, aside, ignore=left)
            tensors = TensorFolder.open(folder)
            whole = with_adapters(dict(tensors.tensors()), folder)
            save_tensors(whole, aside, sharded=tensors.sharded)
        else:
            shutil.copytree(folder, aside)
        shutil.rmtree(out, ignore_errors=True)
        aside.rename(out)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(aside, ignore_errors=True)
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())
        raise UserError(f"could not write {out}: {reason}") from error
