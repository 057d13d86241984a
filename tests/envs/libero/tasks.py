"""What tests of LIBERO share."""

from importlib.util import find_spec

import pytest

NEEDS_LIBERO = pytest.mark.skipif(
    find_spec("libero") is None, reason='LIBERO is not installed: pip install "pushcut[libero]"'
)
