"""The memory plan of fine-tuning, training or evaluating a released VLA, before it is loaded.

The full-size network is run without memory behind it, once as an update and once as an inference,
and the bytes that would be alive are counted; the plan adds them up for each GPU and the host. A
new network needs its calls in ``measure`` and its sizes in ``network``, no formulas.

May import ``config``, and of the policies what is below ``source``: networks, options, losses.
Promises to allocate nothing of a network's size.
"""

from pushcut.memory.advice import Saving, advice
from pushcut.memory.plan import GB, MemoryPlan, fits, plan
from pushcut.memory.workload import Phase, Workload

__all__ = ["GB", "MemoryPlan", "Phase", "Saving", "Workload", "advice", "fits", "plan"]
