"""Released VLAs (pi0, pi0.5, GR00T N1.5, OpenVLA-OFT): their folders, read and written back.

May import ``policies.networks``, ``policies.tokens`` and ``policies.flow``. Promises that a folder
that was read and written again is the same to the byte, and that every guess is said.
"""
