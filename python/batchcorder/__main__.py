"""``python -m batchcorder``, which is ``batchcorder``."""

import sys

from ._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
