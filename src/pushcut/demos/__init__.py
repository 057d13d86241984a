"""Demonstrations: collected from scripted experts, read from files of ours and of others.

May import ``envs``; never torch. Promises the border's units and conventions after reading,
whatever the file's, and one line for each conversion.
"""
