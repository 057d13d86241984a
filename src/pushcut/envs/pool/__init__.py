"""Worker processes that play environments: who serves which slot, shared memory, restarts.

May import ``envs.base`` and the plumbing in ``runs`` and ``system``; never torch, never a simulator
(a worker imports only its own, late). Promises that a dead or hung worker is replaced and reported,
and that results do not depend on how many workers there are.
"""
