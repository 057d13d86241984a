"""The folder of a run: what is written there, read back, locked, logged and tracked.

May import ``types``, ``errors`` and ``system``. Promises that a kill or a full disk at any moment
leaves every line that was written before, and that one process works in a folder at a time.
"""
