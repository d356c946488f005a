"""Who does the work: functions of small tasks, here one after the other.

`pipelines.beam` has the same two methods on Apache Beam. A task names files with chunks of
columns, never single ratings, and its function writes or returns what depends on the task
alone: so both engines make the same bytes, and a task done twice does no harm.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol


class Engine(Protocol):
    """Does tasks."""

    def map(self, function: Callable[[Any], Any], tasks: list[Any]) -> list[Any]:
        """The function's result for each task, in order."""
        ...

    def combine(
        self,
        function: Callable[[Any], Any],
        merge: Callable[[Any, Any], Any],
        tasks: Iterable[tuple[str, Any]],
    ) -> dict[str, Any]:
        """Results merged by key.

        Args:
            function: Of a task.
            merge: Of two results; in whatever order, the outcome is the same.
            tasks: Keys and tasks.
        """
        ...


class Local:
    """The plain engine: this process, no Beam."""

    def map(self, function, tasks):
        return [function(task) for task in tasks]

    def combine(self, function, merge, tasks):
        merged: dict[str, Any] = {}
        for key, task in tasks:
            result = function(task)
            merged[key] = merge(merged[key], result) if key in merged else result
        return merged


def make(runner: str, options: list[str], work_dir) -> Engine:
    """The engine that --runner names.

    Args:
        runner: "local", or a runner of Beam.
        options: Beam's options, "name=value".
        work_dir: Where workers leave their results; all of them must see it.

    Raises:
        ValueError: as from `pipelines.beam.Beam`, or Beam is not installed.
    """
    if runner == "local":
        if options:
            raise ValueError(f"--beam {options[0]} needs a runner of Beam, such as FnApiRunner")
        return Local()
    try:
        from . import beam
    except ImportError as error:
        raise ValueError(str(error)) from error
    return beam.Beam(runner, options, work_dir)
