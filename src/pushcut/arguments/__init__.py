"""Arguments: from what is typed after a command to its config.

May import ``presets``, every registry and ``commands.remembered``; only ``fields`` imports tyro.
Promises one order: a preset's values, over them those of --config, over them the flags.
"""
