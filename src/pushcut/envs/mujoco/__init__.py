"""What environments on MuJoCo share: episodes, exact snapshots, rendering, the choice of OpenGL.

May import ``envs.base``; knows no benchmark. Promises that restoring a snapshot goes on to the bit,
and that ``gl`` can be asked without importing MuJoCo or torch.
"""
