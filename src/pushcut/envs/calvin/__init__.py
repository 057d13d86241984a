"""CALVIN: a Franka arm at a play table, five instructions in a row (Mees et al. 2022).

May import ``envs.episodes`` and ``envs.replayed``; pybullet is imported by ``bodies``, ``world``
and ``pictures`` alone. Promises the benchmark's start states, chains, control and conditions of
success, and exact restarts by seed and replayed actions. The world is our own, on pybullet; files
and sentences are read from the user's checkout of the benchmark, none of whose code is here.
"""
