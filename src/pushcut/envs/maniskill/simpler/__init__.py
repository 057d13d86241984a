"""SIMPLER's four WidowX tasks, on the environments that ManiSkill has of them.

May import ``envs.maniskill``; sapien is imported by ``simulator`` alone. Promises the published
start states, pictures and success, and exact restarts by seed and replayed actions.
"""
