"""The engine on Apache Beam: in-process, with several workers, or on a cluster.

The runner is always given, by default the in-process FnApiRunner. Beam's own default,
DirectRunner, may first try to download another runner's program, so it is refused.
"""

import contextlib
import logging
import pathlib
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

# Beam warns about parts of Google Cloud that are neither installed nor needed.
logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())

try:
    import apache_beam as beam

    from . import beam_options, beam_workers
except ImportError as error:
    raise ImportError(
        "--runner needs Apache Beam: pip install 'tfrec[pipelines]', or give --runner=local"
    ) from error

DEFAULT = "FnApiRunner"
_DOWNLOADS = ("DirectRunner", "SwitchingDirectRunner")


class Beam:
    """Runs each map or combine as one Beam pipeline.

    Elements are tasks: names of files with chunks of columns. Results are small; workers write
    them as files to a directory that they share with this process.

    Args:
        runner: A runner's name, such as FnApiRunner, FlinkRunner, DataflowRunner.
        options: Beam's options, "name=value".
        work_dir: A directory that all workers can access.

    Raises:
        ValueError: unknown runner or option, a runner whose package is not installed, or one
            that may download something.
    """

    def __init__(self, runner: str, options: list[str], work_dir: str | pathlib.Path):
        self.runner, self.work_dir = beam_options.runner_class(runner), pathlib.Path(work_dir)
        if self.runner.__name__ in _DOWNLOADS:
            raise ValueError(
                f"--runner={runner} may try to download the program of another runner: give one, "
                f"such as --runner={DEFAULT} (in-process) or --runner=PrismRunner"
            )
        self.options = beam_options.make(runner, options)
        beam_workers.register()

    def map(self, function, tasks):
        if not tasks:
            return []
        with self._results() as results:
            keep = _Keep(results, function)
            with self._pipeline() as pipeline:
                _ = (
                    pipeline
                    | beam.Create(list(enumerate(tasks)), reshuffle=False)
                    | beam.Reshuffle()
                    | f"{function.__name__}" >> beam.MapTuple(keep)
                )
            return [_load(results, number) for number in range(len(tasks))]

    def combine(self, function, merge, tasks):
        with self._results() as results:
            keys = sorted({key for key, _ in tasks})
            names = {key: str(number) for number, key in enumerate(keys)}
            with self._pipeline() as pipeline:
                _ = (
                    pipeline
                    | beam.Create([(names[key], task) for key, task in tasks], reshuffle=False)
                    | beam.Reshuffle()
                    | f"{function.__name__}" >> beam.MapTuple(_Keyed(function))
                    | beam.CombinePerKey(_Merge(merge))
                    | beam.MapTuple(_Keep(results))
                )
            return {key: _load(results, name) for key, name in names.items()}

    @contextlib.contextmanager
    def _pipeline(self) -> Iterator[beam.Pipeline]:
        """A pipeline, which the block builds and which then runs to its end.

        Raises:
            ConnectionError: Dask's scheduler was lost, which its runner takes for the end.
        """
        pipeline = beam.Pipeline(self.runner(), options=self.options)
        try:
            with pipeline:
                yield pipeline
            if any(
                future.status != "finished" for future in getattr(pipeline.result, "futures", [])
            ):
                raise ConnectionError(
                    "the Dask scheduler was lost before its work was done; nothing of this step is "
                    "kept. Start it and its workers again, and run the same command: it resumes "
                    "after the finished steps"
                )
        finally:
            result = getattr(pipeline, "result", None)
            if client := getattr(result, "client", None):  # Dask's runner leaves it connected
                client.close()

    def _results(self) -> tempfile.TemporaryDirectory:
        """A directory for the results of one pipeline, removed afterwards."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".beam-", dir=self.work_dir)


class _Keep:
    """Writes a result to the file of its key; idempotent."""

    def __init__(self, directory: str, function=lambda task: task):
        self._directory, self._function = directory, function

    def __call__(self, key: Any, task: Any) -> None:
        path = pathlib.Path(self._directory) / str(key)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(pickle.dumps(self._function(task)))
        pathlib.Path(file.name).replace(path)


class _Keyed:
    """Applies a function to the value of a pair."""

    def __init__(self, function):
        self._function = function

    def __call__(self, key: str, task: Any) -> tuple[str, Any]:
        return key, self._function(task)


class _Merge(beam.CombineFn):
    """A function that merges two results, as Beam's CombineFn."""

    def __init__(self, merge):
        self._merge = merge

    def create_accumulator(self):
        return None

    def add_input(self, accumulator, result):
        return result if accumulator is None else self._merge(accumulator, result)

    def merge_accumulators(self, accumulators):
        merged = None
        for accumulator in accumulators:
            if accumulator is not None:
                merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator):
        return accumulator


def _load(results: str, key: Any) -> Any:
    path = pathlib.Path(results) / str(key)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing, which a worker of Beam has written: all workers must have the "
            "pipeline's root under the same path, on a shared file system"
        )
    return pickle.loads(path.read_bytes())
