"""SIGINT and SIGTERM during work whose state can be saved first."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

SAVED = 75  # exit code: stopped on request and saved, to be resumed (EX_TEMPFAIL of sysexits.h)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\nstopping at the end of this step; Ctrl-C once more stops at once, unsaved\n"


class Interrupted(KeyboardInterrupt):
    """Work was stopped on request and saved; the text says where and how to resume."""


class Requests:
    """Requests to stop, received as signals.

    Attributes:
        asked: Whether a stop was requested.
        postponed: Whether the next signal only sets `asked`; else it raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.asked, self.postponed = False, False

    def handle(self, number: int, frame: object) -> None:
        """The signal handler. A second SIGINT is not postponed; a second SIGTERM has no effect.

        Raises:
            KeyboardInterrupt: the stop is not postponed.
        """
        at_once = not self.postponed or (self.asked and number == signal.SIGINT)
        first, self.asked = not self.asked, True
        if at_once:
            raise KeyboardInterrupt
        if first:
            os.write(2, _NOTICE)  # a print may be running at this moment

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """In the block a signal, or an earlier postponed one, raises KeyboardInterrupt."""
        before, self.postponed = self.postponed, False
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self.postponed = before


@contextlib.contextmanager
def postponed() -> Iterator[Requests]:
    """In the block SIGINT and SIGTERM only set `asked` of the yielded `Requests`.

    Signals that were ignored, such as SIGINT in a shell's background, still are. Python accepts
    handlers only in its main thread; in other threads this has no effect.
    """
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    requests.postponed = True
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, requests.handle) for number in heard}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
