"""Runs whole commands on the pretend GPU: ``python -m tests.pretend_gpu.run_loops OUT``."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch

from tests.pretend_gpu.device import only_host, switched_on


def main(out: Path, only: list[str]) -> None:
    torch.set_num_threads(1)
    from tests.pretend_gpu.loops import LOOPS, begin

    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, switched_on():
        with only_host():
            place = begin(Path(folder))
        for name, check in LOOPS.items():
            if only and name not in only:
                continue
            start, before = time.time(), time.process_time()
            try:
                check(place(name))
                found[name] = ""
            except Exception as error:
                found[name] = f"{error!r}\n{traceback.format_exc()}"
            spent = f"{time.time() - start:.1f} s, processor {time.process_time() - before:.1f} s"
            print(f"{name}: {spent}", "BAD" if found[name] else "", flush=True)
            print(found[name][-2500:], flush=True)
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
