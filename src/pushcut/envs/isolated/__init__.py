"""Simulators in virtual environments of their own, where their packages would clash with ours.

May import nothing else of ``envs``; ``start``, which runs where pushcut is not installed, only the
standard library. Promises that an environment is whole or not there, and that workers find it.
"""
