"""CALVIN: a Franka arm at a play table, five instructions in a row (Mees et al. 2022).

A world of our own on pybullet; the benchmark's files are read from a checkout of it. May import
the rest of ``envs``; pybullet only in ``world`` and ``pictures``, which are imported late.
"""
