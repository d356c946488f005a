"""SIGINT and SIGTERM while something is at work that can be saved first."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

SAVED = 75  # exit code: stopped on request, saved, to be gone on with (EX_TEMPFAIL of sysexits.h)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTICE = b"\nstopping at the end of this step; Ctrl-C once more stops at once, unsaved\n"


class Interrupted(KeyboardInterrupt):
    """Work was stopped on request and saved; the text says where and how to go on."""


class Requests:
    """What was asked for by signals.

    Attributes:
        asked: Whether an end was asked for.
        postponed: Whether the next signal only sets `asked`; else it raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.asked, self.postponed = False, False

    def handle(self, number: int, frame: object) -> None:
        """The signals' handler. A second SIGINT is not postponed; a second SIGTERM changes nothing.

        Raises:
            KeyboardInterrupt: the end can not wait.
        """
        at_once = not self.postponed or (self.asked and number == signal.SIGINT)
        first, self.asked = not self.asked, True
        if at_once:
            raise KeyboardInterrupt
        if first:
            os.write(2, _NOTICE)  # print may be at work in the very moment

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """In the block a signal raises KeyboardInterrupt, as one does that came before it."""
        before, self.postponed = self.postponed, False
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self.postponed = before


@contextlib.contextmanager
def postponed() -> Iterator[Requests]:
    """In the block SIGINT and SIGTERM wait to be asked about: `asked` of what is yielded.

    A signal that was ignored, as SIGINT is in a shell's background, still is. Python takes handlers
    in its main thread only: in others nothing changes.
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
