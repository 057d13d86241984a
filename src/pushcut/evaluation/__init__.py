"""What a policy is worth: every held-out state played once, successes with their intervals.

May import ``rollout`` and what is below it, not ``learning``. Promises counts with 95 % intervals,
one episode per initial state, and a warning where a checkpoint was trained on those states.
"""
