"""`python -m riverlens` is the command `riverlens`."""

import sys

from riverlens.cli import main

sys.exit(main())
