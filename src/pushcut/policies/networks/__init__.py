"""The networks of released VLAs: compact definitions under the released parameter names.

May import torch and ``policies.precision``. Promises the outputs of the published programs within
the bounds that tests/policies/networks/test_parity.py states.
"""
