"""The machine and the terminal: cores and memory, progress bars, signals, stopwatch, ffmpeg.

May import ``errors`` alone, and never torch: worker processes load it. Promises to know nothing of
reinforcement learning.
"""
