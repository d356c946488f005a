"""Command `tfrec`: runs another command by its name, or lists them all.

`tfrec train ...` is `python -m tfrec.train ...`; commands are imported when they are run or listed,
and import TensorFlow only when they work.
"""

import importlib
import importlib.util
import sys

from absl import flags

from tfrec import cli
from tfrec.config import known_names

COMMANDS = (
    *("prepare", "describe", "train", "tune", "evaluate", "compare", "report", "ensemble"),
    *("recommend", "export", "serve", "request", "deploy", "pipeline", "doctor"),
)
_HELP = {"help", *cli.HELP}


def main() -> None:
    """Runs the command given first with the arguments after it; `help` or nothing lists them."""
    name, *words = sys.argv[1:] or ["help"]
    if name in _HELP and words:  # tfrec help train
        name, words = words[0], ["--help"]
    if name in COMMANDS:
        sys.argv = [f"tfrec {name}", *words]
        command(name).run()
    else:
        sys.argv = ["tfrec"]
        cli.run(lambda: _list_or_refuse(name), flags.FlagValues(), "", "")


def command(name: str) -> cli.Command:
    """The command of a name in `COMMANDS`."""
    module = _runner() if name == "pipeline" else f"tfrec.{name}"
    found: cli.Command = importlib.import_module(module).COMMAND
    return found


def _runner() -> str:
    """The pipeline's module: part of tfrec if it is installed, next to it in a checkout."""
    installed = importlib.util.find_spec("tfrec.pipelines") is not None
    return "tfrec.pipelines.local_runner" if installed else "pipelines.local_runner"


def _list_or_refuse(name: str) -> None:
    if name not in _HELP:
        raise ValueError(f"{name!r} is not a command; " + known_names(name, COMMANDS))
    print("tfrec COMMAND --name=value ...\n\nCommands:")
    for known in COMMANDS:
        print(f"  {known:11}{command(known).description}")
    print("\nFlags of a command: tfrec COMMAND --help")


if __name__ == "__main__":
    main()
