"""What people look at: the HTML report, charts, plots and videos.

May import ``runs``, ``system`` and ``evaluation.intervals``; reads the files of a run, never a
policy or simulator. Promises to show what the files say, in one file that opens without a network.
"""
