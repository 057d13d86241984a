"""ManiSkill: tasks from states, played in an environment of its own (``envs.isolated``).

May import ``envs.episodes``; sapien and mplib are imported by ``simulator`` and ``experts`` alone.
Promises exact restarts by seed and replayed actions, since PhysX cannot restore a state exactly.
"""
