"""The command line: python -m emergent_alignment.reproduce."""

import sys

from . import main

sys.exit(main())
