"""Engines apply functions to small tasks; the one here runs them one after the other.

`pipelines.beam` has the same two methods on Apache Beam. A task gives files with chunks of
columns, never single ratings, and the result of its function depends only on the task: so both
engines write the same bytes, and tasks are idempotent.
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
        """Merges results by key.

        Args:
            function: Computes the result of a task.
            merge: Merges two results; commutative and associative.
            tasks: Pairs of key and task.
        """
        ...


class Local:
    """The plain engine: this process, no Beam."""

    def map(self, function, tasks):
        return [function(task) for task in tasks]

    def combine(self, function, merge, tasks):
        from tfrec.data import blocks

        return blocks.combine_in_process(function, merge, tasks)


def make(runner: str, options: list[str], work_dir) -> Engine:
    """The engine given by --runner.

    Args:
        runner: "local", or a runner of Beam.
        options: Beam's options, "name=value".
        work_dir: Directory of the workers' results, which all of them must be able to access.

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
