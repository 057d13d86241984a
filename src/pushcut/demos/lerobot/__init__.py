"""The LeRobot dataset layout (v2 and v3): its files, metadata and videos, read and written.

May import the readers' common words (``demos.frames``, ``demos.dialects``, ``demos.images``,
``demos.stats``). Promises to refuse a damaged or foreign file in one line that names it.
"""
