"""Files as torch writes them, also one that attacks."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any


class Hostile:
    """Its pickle calls a function of the attacker's choice."""

    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.touched}",)


def torch_file(path: Path, content: Any) -> Path:
    """A file as ``torch.save`` writes it: a zip archive around a pickle of protocol 2."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("archive/version", "3\n")
    return path
