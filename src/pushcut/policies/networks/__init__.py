"""The networks of released VLAs: compact definitions under the released parameter names.

May import torch alone (and each other). Promises the outputs of the published programs within the
bounds that tests/policies/networks/test_parity.py states.
"""
