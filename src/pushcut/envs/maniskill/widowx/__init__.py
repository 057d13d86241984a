"""A WidowX 250 S over a table in ManiSkill: what SIMPLER and PutOnPlate share.

May import nothing else of ours. Promises that the arm is asked, drawn and moved alike in both.
"""
