"""What the command line's commands do, one module each.

May import everything but ``cli``. Promises to check what can be checked before anything is written,
and one line for each problem of a user.
"""
