"""One folder per framework.

This package exists so that `impls.tensorflow` can never be mistaken for `tensorflow`: nothing may
put this folder itself on `sys.path`. `SAMESTEP_IMPLS` may name further folders with frameworks of
your own, separated as in PATH.
"""

import os

__path__.extend(filter(None, os.environ.get("SAMESTEP_IMPLS", "").split(os.pathsep)))
