"""MetaWorld: its fifty tasks, as environments with scripted experts.

May import ``envs.episodes`` and ``envs.mujoco``; the package metaworld is imported by ``simulator``
alone. Promises exact restarts from (task, seed) and the border's conventions.
"""
