"""The memory plan of reinforcement learning on a released VLA, before anything is loaded.

Parameters are counted on networks without memory, activations computed from the shapes (``blocks``
has the formulas), and both added up for each GPU and the host.

May import ``policies.networks`` and ``policies.lora``. Promises to allocate nothing of a network's
size.
"""

from pushcut.memory.advice import Saving, advice
from pushcut.memory.plan import GB, MemoryPlan, fits, plan
from pushcut.memory.workload import Workload

__all__ = ["GB", "MemoryPlan", "Saving", "Workload", "advice", "fits", "plan"]
