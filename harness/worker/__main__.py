"""`python -m harness.worker FD PARENT`: serve requests on a socket inherited from the runner.

Standard output and standard error belong to the framework; nothing here writes to them but the
traceback of a failure.
"""

import sys

from harness.worker.messages import connected
from harness.worker.session import work

if __name__ == "__main__":
    sys.exit(work(connected()))
