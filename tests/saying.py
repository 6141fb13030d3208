"""A worker that says something else than an answer: `python -m tests.saying FD PARENT`."""

from __future__ import annotations

import os
import signal
import struct
import sys
import time

channel = int(sys.argv[1])
match os.environ["SAYING"]:
    case "half":
        os.write(channel, struct.pack("!i", 1000) + b"{")
        time.sleep(60)
    case "torn":
        os.write(channel, struct.pack("!i", 1000) + b"{")
        os._exit(3)
    case "endless":
        os.write(channel, struct.pack("!i", 2**30))
        time.sleep(60)
    case "nonsense":
        os.write(channel, struct.pack("!i", 4) + b"\xff\x00{]")
        time.sleep(60)
    case "deaf":
        time.sleep(60)
    case "signal":
        os.kill(os.getpid(), signal.SIGRTMIN + 6)
        time.sleep(60)
