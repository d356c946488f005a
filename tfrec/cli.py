"""Behaviour that all commands share: `--help` exits with 0, errors for mistyped names list the
known ones, an error is one line, SIGTERM stops like Ctrl-C, work that was saved exits with
`interrupts.SAVED`, `| head` is not an error, TensorFlow starts without its notices.

The environment variable TFREC_DEBUG=1 shows tracebacks and notices.
"""

import contextlib
import dataclasses
import errno
import importlib
import os
import pathlib
import re
import select
import signal
import sys
import tempfile
import types
from collections.abc import Callable, Iterator

# Set before TensorFlow is imported: its notices would hide a command's few lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags

from tfrec import interrupts, names
from tfrec.config import known_names

HELP = {"-h", "-help", "--help", "-helpfull", "--helpfull"}
NVIDIA = pathlib.Path("/dev/nvidiactl")  # exists if a GPU driver is loaded


def make_callable(name: str, source: str) -> None:
    """Makes a command's module callable like the API's function of the same name.

    Importing the module `tfrec.compare` replaces the function `tfrec.compare`.

    Args:
        name: The module's name.
        source: The module that has the function.
    """

    class CallableModule(types.ModuleType):
        def __call__(self, *args: object, **kwargs: object) -> object:
            return getattr(importlib.import_module(source), name.rpartition(".")[2])(
                *args, **kwargs
            )

    if module := sys.modules.get(name):
        module.__class__ = CallableModule


@dataclasses.dataclass(frozen=True)
class Command:
    """A command, as its module defines it for `python -m` and for the list of `tfrec help`.

    Attributes:
        main: Does the work; reads `flag_values`.
        flag_values: The command's flags. Each command has its own set, so that several can
            be imported side by side.
        description: First line of `--help`, and the command's line in the list.
        example: A command line that works.
        positional: The flag that a word without a flag stands for; "" refuses such words.
    """

    main: Callable[[], None]
    flag_values: flags.FlagValues
    description: str
    example: str
    positional: str = ""

    def run(self) -> None:
        """Parses the command line, calls `main`, and exits if it fails."""
        run(self.main, self.flag_values, self.description, self.example, self.positional)


def run(
    main: Callable[[], None],
    flag_values: flags.FlagValues,
    description: str,
    example: str,
    positional: str = "",
) -> None:
    """Parses the command line, calls `main`, and exits if it fails; see `Command`."""
    try:
        with _terminated_as_interrupted():
            if HELP & set(sys.argv[1:]):
                print(f"{description}\n\nExample:\n  {example}\n\nFlags:")
                print(
                    "\n".join([*_help_lines(flag_values), names.listing(set(flag_values))]).rstrip()
                )
            else:
                _parse(flag_values, positional)
                main()
            sys.stdout.flush()
    except interrupts.Interrupted as stopped:
        again = "with --resume " if "resume" in flag_values else ""
        print(f"stopped {stopped}: the same command {again}goes on there", file=sys.stderr)
        sys.exit(interrupts.SAVED)
    except KeyboardInterrupt:
        sys.exit("stopped")
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            sys.exit(128 + signal.SIGPIPE)
        if os.environ.get("TFREC_DEBUG") or not isinstance(error, _expected()):
            raise
        sys.exit(f"error: {_one_line(error)}")


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Lets SIGTERM, which schedulers and `kill` send, stop the block like Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe that is no longer read, as after `| head`; if so, closes it.

    Otherwise Python would try to flush it again at exit.
    """
    poll = select.poll()
    poll.register(1, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


def _one_line(error: Exception) -> str:
    """The error's text without line breaks and TensorFlow's names of graph nodes."""
    text = " ".join(re.sub(r"\{\{.*?\}\}|\[Op:\w+\]", "", str(error)).split())
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        text += (
            "; free some space, or give a folder on another disk (--run_dir, --data_dir, "
            "--export_dir, or the environment variable TFREC_CACHE)"
        )
    return text or type(error).__name__


def _expected() -> tuple[type[Exception], ...]:
    """Errors that are shown in one line; all others are bugs and show a traceback.

    TensorFlow has its own classes for errors of the system, such as a full disk.
    """
    ours = (ValueError, OSError, MemoryError, flags.Error)
    tensorflow = sys.modules.get("tensorflow")
    return (*ours, tensorflow.errors.OpError) if tensorflow else ours


def start_tensorflow() -> None:
    """Imports TensorFlow and lists its devices, without its dozen lines of notices.

    They are written from C++ before any log level is read, so stderr itself is redirected
    meanwhile. They are shown if the import fails, and if a GPU driver is loaded but TensorFlow
    finds no GPU. Runs no operation: a strategy may still split the devices.
    """
    if "tensorflow" in sys.modules or os.environ.get("TFREC_DEBUG"):
        return
    with _stderr_held_back() as show:
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU") and NVIDIA.exists():
            show()


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[Callable[[], None]]:
    """Drops what is written to stderr, unless the block raises or calls what is yielded."""
    shown = []
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield lambda: shown.append(True)
        except BaseException:
            shown.append(True)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            if shown:
                os.write(2, held.read())


def _parse(flag_values: flags.FlagValues, positional: str) -> None:
    """Parses the command line with absl; also refuses arguments that are not flags.

    Args:
        flag_values: The command's flags.
        positional: The flag that one argument without a name is taken for; "" for none.
    """
    try:
        rest = flag_values(sys.argv)[1:]
    except flags.UnrecognizedFlagError as error:
        name, value = error.flagname, (error.flagvalue or "").partition("=")[2]
        known = known_names(f"--{name}", [f"--{flag}" for flag in sorted(flag_values)])
        hint = names.written(name, value, set(flag_values)) or known
        raise ValueError(f"unknown flag --{name}; {hint}") from None
    if rest and positional and flag_values[positional].using_default_value:
        flag_values[positional].parse(rest.pop(0))
    if rest:
        raise ValueError(f"{rest[0]!r} is not a flag: flags are written --name=value")


def _help_lines(flag_values: flags.FlagValues) -> list[str]:
    """One line for each flag: name, help, default."""
    lines = []
    for name in sorted(flag_values):
        flag = flag_values[name]
        default = "" if flag.default in (None, "", [], False) else f" (default: {flag.default})"
        lines.append(f"  --{name}: {flag.help}{default}")
    return lines


def require(flag_values: flags.FlagValues, name: str) -> str:
    """The value of a flag that has no default.

    Raises:
        ValueError: it was not given.
    """
    value = flag_values[name].value
    if not value:
        raise ValueError(f"--{name} is missing: {flag_values[name].help}")
    return value
