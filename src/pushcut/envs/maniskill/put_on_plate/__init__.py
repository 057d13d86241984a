"""PutOnPlateInScene25: 25 objects, 17 receptacles, 21 tables and the twelve variants (RL4VLA).

May import ``envs.maniskill``; sapien is imported by ``scene`` and ``simulator`` alone. Promises the
published numbering, start states, success and pictures, and exact restarts by seed and replayed
actions. Written from the facts of RL4VLA's and RLinf's tasks, none of whose code is here.
"""
