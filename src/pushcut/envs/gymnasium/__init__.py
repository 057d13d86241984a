"""Any registered ``gymnasium.Env`` with a Box of actions, through one adapter.

May import ``envs.base``, ``episodes``, ``isolated`` and ``mujoco``; gymnasium, and what it makes,
only late. Promises exact restarts by seed and replay, and to refuse environments where that fails.
"""
