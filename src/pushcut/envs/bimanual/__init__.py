"""Two arms over a table, tasks that need both, a scripted expert for each: pushcut's own.

May import ``envs.episodes`` and ``envs.mujoco``; mujoco is imported by ``simulator`` and
``kinematics`` alone. Promises exact restarts from (task, seed) and the border's conventions.
"""
