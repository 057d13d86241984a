"""What people look at: the HTML report, charts, plots and videos.

May import ``runs``, ``system`` and ``evaluation.intervals``; reads files of a run, never a policy or
a simulator. Promises to show what the files say, from one file that opens without a network.
"""
