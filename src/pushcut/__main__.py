"""``python -m pushcut`` is the command line."""

import sys

from pushcut.cli import main

sys.exit(main())
