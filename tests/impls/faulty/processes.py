"""Starts a process when it is imported."""

import os
import subprocess
import sys

PARENT = os.getpid()
STARTED = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
