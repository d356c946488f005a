"""The page of a run, from its sections."""

import typing
from collections.abc import Sequence

from tfrec import pages
from tfrec.api.prepared_data import PathLike
from tfrec.api.reporting import exposed, figures, sliced, user_lists
from tfrec.api.reporting.measured import Measured
from tfrec.training import readings
from tfrec.training.runs import RunDir

if typing.TYPE_CHECKING:
    from tfrec.api.run import Run


def write(
    run: "Run",
    path: PathLike,
    against: Sequence["Run"] = (),
    users: Sequence[str] = (),
    n_users: int = 4,
    seed: int = 0,
) -> None:
    """Writes the page.

    Args:
        run: A finished run with test values.
        path: The file.
        against: Other runs on the same data.
        users: Raw ids of test users whose lists are shown; none: `n_users` drawn by `seed`.
        n_users: Number of users to draw.
        seed: Seed of the draw.

    Raises:
        ValueError: as in `Run.report`.
    """
    _refuse_unfinished(run.path)
    for other in against:
        _refuse_unfinished(other.path, "--against")
    readings.append(run.config, run.metrics["protocol"], "report")
    measured = Measured(run, against)
    chosen = user_lists.choose(measured, users, n_users, seed)
    sections = [
        figures.protocol(measured),
        figures.metrics(measured),
        figures.comparison(measured),
        figures.curves(measured),
        *sliced.sections(measured),
        figures.calibration(measured),
        exposed.section(measured),
        user_lists.section(measured, chosen),
    ]
    lead = "Results on the test set, and recommendations."
    title = f"{run.config.model} on {run.info.name}"
    pages.write(pages.Page(title, [s for s in sections if s and s.blocks], lead), path)


def _refuse_unfinished(path: PathLike, flag: str = "--run_dir") -> None:
    """Refuses a directory without a finished and tested run.

    Args:
        path: The run directory.
        flag: The flag that gave it, for errors.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: the run was stopped before its end, or has no test values.
    """
    run_dir = RunDir(path)
    config = run_dir.config()
    resume = f"`python -m tfrec.train --resume --run_dir={path}` and the flags it was started with"
    if not run_dir.finished:
        raise ValueError(
            f"{flag}={path} was stopped before its end, after {len(run_dir.history())} of "
            f"{config.train.epochs} epochs: finish it with {resume}"
        )
    if not run_dir.metrics()["test"]:
        raise ValueError(
            f"{flag}={path} has no test values (test=False, or its split has no test "
            f"part): measure them with {resume}"
        )
