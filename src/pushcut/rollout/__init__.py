"""Playing episodes: which comes next, many at a time, packed without padding.

May import ``envs``, ``policies``, ``ranks`` and ``batch``. Promises that an episode depends on its
own random stream alone, whatever is played beside it.
"""
