"""LIBERO: its 130 tasks, with their own initial states, scripted experts and a fast control step.

May import ``envs.episodes`` and ``envs.mujoco``; the packages libero and robosuite are imported by
``simulator`` and ``package`` alone. Promises restarts and outcomes as the stock environment has.
"""
