"""Becomes the program that its arguments name, to which the kernel sends SIGTERM when the supervisor dies.

    python end_with_parent.py SUPERVISOR PROGRAM ARGUMENT...

For one that cannot ask for it itself, as Java. A script that imports the standard library alone: it is run at once.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    supervisor, *argv = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(supervisor):
        sys.exit("the supervisor has died")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")
