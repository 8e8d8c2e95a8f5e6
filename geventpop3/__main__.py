"""Entry point of ``python -m geventpop3``, which is the command ``geventpop3``."""

import sys

from geventpop3.cli.main import main

sys.exit(main())
