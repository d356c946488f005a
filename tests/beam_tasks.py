"""Tasks for worker processes, in a module that imports nothing heavy."""

import os
import pathlib
import signal
import time


def double(number):
    return 2 * number


def add(a, b):
    return a + b


def write(task):
    """Writes a file; where `fuse` is there, one worker dies half-way and the others hang."""
    path, fuse = map(pathlib.Path, task)
    path.write_text("half")
    if fuse.exists():
        try:
            fuse.with_suffix(".burnt").mkdir()
        except FileExistsError:
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text("whole")
    return path.name
