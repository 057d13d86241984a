"""What a policy does, from the events of its episodes: phases, strategies, what is new in them.

May import ``envs.events`` and ``evaluation``; reads no policy and no simulator. Promises rules that
are stated in one place (``phases``) and the same result for the same files.
"""
