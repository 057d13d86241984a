"""Several environments in one run: which member plays a task, one action and state size for all.

May import every other environment's config, and is the only folder that does. Promises that each
member behaves as it does alone.
"""
