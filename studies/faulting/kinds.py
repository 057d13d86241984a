"""The kinds of faults: how each is injected, and when it counts as recovered from.

An entry's ``inject`` does the fault and waits for the recovery. It says ``missed`` where the
fault came to nothing (the run was over, the kill missed the checkpoint): that is not counted.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from faulting.env import LOOK_FAULTS, RAISE, STEP_FAULTS, request
from faulting.launchers import RayNodes
from faulting.phases import PHASES
from faulting.rank_kinds import lost_node, signalled_rank
from faulting.scene import RECOVERY_S, Kind, Outcome, Scene, gone_or_leaked, noted
from faulting.training import Training
from processes import wait_until


def signalled_worker(number: int) -> Callable[[Scene], Outcome]:
    """A signal to a random simulator process."""

    def inject(scene: Scene) -> Outcome:
        scene.training.wait_for_calm()
        workers, before = scene.training.workers(), scene.training.recoveries()
        if not workers:
            return "missed"
        victim = workers[scene.rng.integers(len(workers))]
        try:
            os.kill(victim.pid, number)
        except ProcessLookupError:
            return "missed"
        return noted(scene.training, before)

    return inject


def asked_for(*faults: str) -> Callable[[Scene], Outcome]:
    """A simulator does something wrong."""

    def inject(scene: Scene) -> Outcome:
        scene.training.wait_for_calm()
        before = scene.training.recoveries()
        fault = str(scene.rng.choice(faults))
        file = request(scene.training.folder, fault)
        outcome = noted(scene.training, before)
        file.unlink(missing_ok=True)
        return outcome

    return inject


def signalled_trainer(number: int) -> Callable[[Scene], Outcome]:
    """A signal to the trainer, which is then started again."""

    def inject(scene: Scene) -> Outcome:
        if scene.training.ended is not None:
            return "missed"
        end_trainer(scene, number)
        return started_again(scene)

    return inject


def end_trainer(scene: Scene, number: int) -> None:
    """Ends the trainer by a signal; its simulators must end too."""
    training = scene.training
    workers = training.workers()
    process = training.process
    assert process is not None
    before = os.times().elapsed
    process.send_signal(number)
    process.wait(timeout=RECOVERY_S)
    if number == signal.SIGTERM:
        scene.seconds_to_end.append(os.times().elapsed - before)
    gone_or_leaked(scene, workers)


def started_again(scene: Scene) -> Outcome:
    """Starts the program with the same command and waits until it goes on."""
    if scene.training.ended == 0:
        return "missed"
    scene.training.start()
    return "recovered" if scene.training.running() else "not recovered"


def kill_in_checkpoint(scene: Scene) -> Outcome:
    """SIGKILL while a checkpoint is half written, replaced or removed."""
    training = scene.training
    wait_until(lambda: training.unfinished_checkpoint() or training.ended is not None, 30, 0.0005)
    wait_until(lambda: False, float(scene.rng.uniform(0, 0.02)), 0.001)
    if training.ended is not None:
        return "missed"
    end_trainer(scene, signal.SIGKILL)
    in_the_midst = training.unfinished_checkpoint()
    scene.phase = "checkpoint"
    outcome = started_again(scene)
    return outcome if in_the_midst or outcome == "not recovered" else "missed"


def damage_checkpoint(scene: Scene) -> Outcome:
    """SIGKILL, and a file of the newest checkpoint is cut, zeroed, emptied or gone."""
    training = scene.training
    wait_until(lambda: len(training.checkpoints()) > 1 or training.ended is not None, 30)
    if training.ended is not None:
        return "missed"
    end_trainer(scene, signal.SIGKILL)
    found = training.checkpoints()
    if len(found) < 2:
        return "missed" if started_again(scene) != "not recovered" else "not recovered"
    files = sorted(path for path in found[-1].rglob("*") if path.is_file() and path.stat().st_size)
    spoil(files[scene.rng.integers(len(files))], scene.rng)
    return started_again(scene)


def spoil(file: Path, rng: np.random.Generator) -> None:
    """Damages a file as a crash of the machine does."""
    content = file.read_bytes()
    way = rng.integers(4)
    if way == 0:
        file.unlink()
    else:
        cut = content[: rng.integers(len(content))]
        file.write_bytes([cut, bytes(len(content)), b""][way - 1])


def full_disk(scene: Scene) -> Outcome:
    """No room for what is written next; there is some again when the program has ended."""
    training = scene.training
    if training.ended is not None:
        return "missed"
    scene.disk.fill(training, scene.rng)
    wait_until(lambda: training.ended is not None, RECOVERY_S)
    if training.ended is None:
        scene.disk.free()
        return "missed"
    code = training.ended
    scene.disk.free()
    if code not in (0, 1):
        return "not recovered"
    return started_again(scene)


class SmallDisk:
    """A file system of its own in memory: needs the right to mount."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self, training: Training, rng: np.random.Generator) -> None:
        room = int(rng.uniform(0, 1.5 * max(size_of(training.checkpoints()[-1:]), 2**16)))
        with self._ballast.open("wb") as file:
            while (free := shutil.disk_usage(self.folder).free) > room:
                # The program writes and removes meanwhile.
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free - room)

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


def size_of(folders: Sequence[Path]) -> int:
    """Bytes in all files of some folders; what vanishes meanwhile counts nothing."""
    size = 0
    for path in (path for folder in folders for path in folder.rglob("*")):
        with suppress(OSError):
            size += path.stat().st_size
    return size


class FileSizeLimit:
    """Where mounting is not allowed: the trainer's files may not grow beyond a size (EFBIG)."""

    def fill(self, training: Training, rng: np.random.Generator) -> None:
        largest = max(
            (path.stat().st_size for path in training.run.rglob("*") if path.is_file()), default=1
        )
        limit = int(rng.uniform(0, largest))
        resource.prlimit(training.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def free(self) -> None:
        """The limit went with the program."""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("worker-sigkill", signalled_worker(signal.SIGKILL)),
        Kind("worker-sigstop", signalled_worker(signal.SIGSTOP)),
        Kind("exception", asked_for(RAISE)),
        Kind("corrupted-observation", asked_for(*LOOK_FAULTS, *STEP_FAULTS)),
        Kind("trainer-sigkill", signalled_trainer(signal.SIGKILL), ("start", *PHASES)),
        Kind("checkpoint-sigkill", kill_in_checkpoint, ("checkpoint",)),
        Kind("sigterm", signalled_trainer(signal.SIGTERM), ("start", *PHASES)),
        Kind("full-disk", full_disk),
        Kind("damaged-checkpoint", damage_checkpoint),
        Kind("rank-sigkill", signalled_rank(signal.SIGKILL), launcher="torchrun"),
        # Torchrun waits 30 s before it kills what hangs; Ray is an extra.
        Kind("rank-sigstop", signalled_rank(signal.SIGSTOP), launcher="torchrun", short=False),
        Kind("ray-rank-sigstop", signalled_rank(signal.SIGSTOP), launcher="ray", short=False),
        Kind("ray-rank-node-lost", lost_node(RayNodes.rank), launcher="ray", short=False),
        Kind("ray-host-node-lost", lost_node(RayNodes.host), launcher="ray", short=False),
    )
}
"""Name -> kind."""
