"""The LeRobot dataset layout (v2 and v3): its files, metadata and videos, read and written.

May import ``demos.frames``, ``demos.stats`` and ``demos.images``; pyarrow and ffmpeg stay in here.
Promises to refuse a damaged or foreign file in one line that names it.
"""
