"""Runs all cases on the pretend GPU: ``python -m tests.pretend_gpu.run OUT.json [POLICY …]``."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from pushcut.policies.base import Policy
from tests.pretend_gpu.device import only_host, switched_on


def policies(folder: Path) -> dict[str, Callable[[], Policy]]:
    """Those of the contract, and released ones as a run trains them."""
    from tests.policies.builders import POLICIES
    from tests.policies.released.builders import READINGS, SOURCES

    trained = {
        f"trained {name}": lambda name=name: SOURCES[name](
            Path(tempfile.mkdtemp(dir=folder)) / "policy", READINGS["float32"]
        ).load()
        for name in SOURCES
    }
    return POLICIES | trained


def main(out: Path, only: list[str]) -> None:
    torch.set_num_threads(1)
    from tests.pretend_gpu.cases import CASES, Both, cases_of

    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder, switched_on():
        for name, make in policies(Path(folder)).items():
            if only and name not in only:
                continue
            start = time.time()
            for case in cases_of(name, make()):
                try:
                    with only_host():
                        policy = make()
                    before = time.time()
                    CASES[case](Both.of(policy))
                    if "-v" in sys.argv:
                        print("     ", case, f"{time.time() - before:.1f} s", flush=True)
                    problem = ""
                except Exception as error:
                    problem = f"{error!r}\n{traceback.format_exc()}"
                found.setdefault(name, {})[case] = problem
            bad = {case: text for case, text in found[name].items() if text}
            print(f"{name}: {time.time() - start:.1f} s, {len(bad)} bad", flush=True)
            for case, text in bad.items():
                print("  ", case, text[-900:])
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
