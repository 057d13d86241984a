"""Small policies that train from scratch on a CPU: one draws action tokens, one denoises.

May import ``policies.tokens``, ``policies.flow`` and what is below. Promises the whole protocol of
a policy in two files that can be read in one sitting.
"""
