"""A WidowX 250 S over a table in ManiSkill: what SIMPLER and PutOnPlate share.

May import ``envs.episodes`` and ``envs.maniskill``. Promises that the arm is described, asked,
drawn and moved alike in both.
"""
