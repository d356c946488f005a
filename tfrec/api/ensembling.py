"""`tfrec.ensemble`: combines finished runs."""

import pathlib
from collections.abc import Sequence

from tfrec.api import fitting
from tfrec.api.prepared_data import PathLike
from tfrec.api.run import Run
from tfrec.training import ensembles, summaries
from tfrec.training.runs import RunDir


def ensemble(
    runs: Sequence[Run | PathLike], run_dir: PathLike | None = None, overwrite: bool = False
) -> Run:
    """Combines finished runs on the same split by a weighted sum; nothing is trained.

        both = tfrec.ensemble([tfrec.load("runs/deeprec"), "runs/sparsefc"], "runs/both")
        both.export("saved_models/both")  # one SavedModel

    Ratings: the predictions are summed with non-negative least squares weights, fitted on
    validation. Rankings: the scores, standardized by row, are summed with weights that sum to 1,
    chosen by ensemble selection on validation (`tfrec.training.ensembles`). A run with `refit`
    is weighed by its model before the refit, which did not see validation.

    Args:
        runs: Two or more finished runs, or their directories, of models of one task.
        run_dir: The ensemble's run directory, with a copy of the members' models; default: the
            first of `runs/ensemble`, `runs/ensemble-2`, ... that does not exist.
        overwrite: Replace the run in `run_dir`.

    Returns:
        The ensemble's run; `metrics["members"]` has the weights.

    Raises:
        FileNotFoundError: a run is not finished, or a run on ratings has no validation
            predictions.
        ValueError: fewer than two runs, runs that cannot be combined, or `run_dir` holds a run.
    """
    path = str(run_dir or fitting.free(pathlib.Path("runs/ensemble")))
    members = [str(run.path if isinstance(run, Run) else run) for run in runs]
    ensembles.ensemble(members, path, overwrite)
    return Run(path)


def carry_out(runs: Sequence[str], run_dir: str, overwrite: bool) -> str:
    """Implements the command; returns what it prints.

    Args:
        runs: As in `ensemble`.
        run_dir: As in `ensemble`.
        overwrite: As in `ensemble`.
    """
    result = ensembles.ensemble(runs, run_dir, overwrite)
    return summaries.ensemble(result, RunDir(run_dir).task())
