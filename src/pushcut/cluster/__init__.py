"""A run on a cluster: its ranks as processes of many machines, their simulators there or elsewhere.

``start`` is what the rest of the program sees; ``on_ray`` is the one file that imports Ray.

May import ``envs.pool``, ``ranks`` and ``system``. Promises that a lost node costs time, no result.
"""
