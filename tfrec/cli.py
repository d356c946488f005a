"""What all commands share: `--help` exits with 0, a mistyped name is answered with the known
ones, an error is one line.
"""

import os
import sys
from collections.abc import Callable

# Before TensorFlow is imported: its start-up notices would bury a command's few lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags

from tfrec.config import known_names


def run(
    main: Callable[[], None], flag_values: flags.FlagValues, description: str, example: str
) -> None:
    """Parses the command line, calls `main` and exits.

    Args:
        main: The command; reads `flag_values`.
        flag_values: The command's flags. Each command has its own set, so that several can
            be imported side by side.
        description: First lines of `--help`.
        example: A command line that works.
    """
    if any(a.lstrip("-") in ("help", "h", "helpfull") for a in sys.argv[1:] if a[0] == "-"):
        print(f"{description}\n\nExample:\n  {example}\n\nFlags:")
        print("\n".join(_help_lines(flag_values)))
        return
    try:
        _parse(flag_values)
        main()
    except (ValueError, OSError, flags.Error) as error:
        if os.environ.get("TFREC_DEBUG"):
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")


def _parse(flag_values: flags.FlagValues) -> None:
    """Absl's parser; refuses what it would pass on."""
    try:
        rest = flag_values(sys.argv)[1:]
    except flags.UnrecognizedFlagError as error:
        known = [f"--{name}" for name in sorted(flag_values)]
        raise ValueError(
            f"unknown flag --{error.flagname}; " + known_names(f"--{error.flagname}", known)
        ) from None
    if rest:
        raise ValueError(f"{rest[0]!r} is no flag: flags are written --name=value")


def _help_lines(flag_values: flags.FlagValues) -> list[str]:
    """One line a flag: name, what it is, default."""
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
