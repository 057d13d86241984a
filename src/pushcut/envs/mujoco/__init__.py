"""What environments on MuJoCo share: exact physics states, rendering, the choice of OpenGL.

May import ``envs.episodes``; knows no benchmark. Promises that restoring a snapshot goes on to the
bit, and that ``gl`` can be asked without importing MuJoCo or torch.
"""
