"""Action tokens: categorical distributions over bins, shared by every policy that draws them.

May import ``policies.base`` and ``batch``. Promises that sampling and evaluating are one function:
the log-ratio is 0 before the first update.
"""
