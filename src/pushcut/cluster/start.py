"""What the rest of the program sees of clusters; Ray is imported only where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from pushcut.cluster.config import ClusterConfig
from pushcut.envs.base import EnvConfig
from pushcut.envs.pool.base import Simulators
from pushcut.envs.pool.batch_pool import open_pool
from pushcut.errors import UserError
from pushcut.types import Recovery


def run_ranks(
    cluster: ClusterConfig,
    work: Callable[[ClusterConfig, Any], Any],
    argument: Any,
    *,
    gpus: bool,
    on_restart: Callable[[str], None],
) -> list[Any]:
    """What ``work`` returns on each rank of a cluster.

    Args:
        cluster: Where they run.
        work: A function of an importable module; it is given the cluster with its numbers filled
            in, and the argument.
        argument: Picklable.
        gpus: Whether a rank takes a GPU, where there are any.
        on_restart: Told why, when a rank was lost and all are started again.
    """
    return _engine().run_ranks(cluster, work, argument, gpus=gpus, on_restart=on_restart)


def open_simulators(
    cluster: ClusterConfig,
    env: EnvConfig,
    *,
    slots: int,
    workers: int,
    timeout_s: float,
    tasks_per_process: int = 0,
    final_observation: bool,
    on_recovery: Callable[[Recovery], None],
) -> Simulators:
    """Simulators in processes of this machine, or with hosts of the cluster."""
    options: dict[str, Any] = {
        "timeout_s": timeout_s,
        "tasks_per_process": tasks_per_process,
        "final_observation": final_observation,
        "on_recovery": on_recovery,
    }
    if cluster.simulators == "ranks":
        return open_pool(env, slots=slots, workers=workers, **options)
    return _engine().open_hosted_pool(cluster, env, slots=slots, **options)


def _engine() -> ModuleType:
    try:
        from pushcut.cluster import on_ray
    except ImportError as error:
        raise UserError(
            f'--cluster ray needs Ray: `pip install "pushcut[ray]"` on every machine ({error})'
        ) from error
    return on_ray
