"""Several finished runs on ratings as one: a weighted sum of what they predict."""

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from tfrec import metrics
from tfrec.schema import DatasetInfo
from tfrec.training.runs import RunDir

PARTS = ("validation", "test")


def weights(predictions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The weights of the least squared error, none of them below 0; there is no intercept.

    Args:
        predictions: `[n, k]`, a column a member.
        values: `[n]`.

    Returns:
        float64 `[k]`.
    """
    return scipy.optimize.nnls(predictions, values)[0]


def blend(members: Sequence[str], path: str) -> dict:
    """Blends finished runs and writes `metrics.json` and `per_user.npz` to the directory `path`.

    The weights come from the members' predictions of validation, made before any refit by
    models that had not seen those ratings; with them the predictions of test are summed up,
    made by the refitted models. The blend's own validation error is measured on the ratings that
    its weights were fitted to.

    Args:
        members: The runs' directories, two at least.
        path: `--run_dir` of the blend; it holds no model.

    Returns:
        What `metrics.json` holds; "members" has the weights.

    Raises:
        FileNotFoundError: a member is not finished, or has no predicted ratings.
        ValueError: too few members, members measured on other ratings, or `path` holds a run.
    """
    run_dir = RunDir(path)
    if len(members) < 2:
        raise ValueError(f"--runs={','.join(members)}: a blend takes two runs, or more")
    if run_dir.exists:
        raise ValueError(f"--run_dir={path} already holds a run: give another --run_dir")
    runs = [RunDir(member) for member in members]
    done = [run.metrics() for run in runs]
    info, *_ = [run.info() for run in runs]
    columns = {part: _columns(runs, part) for part in PARTS}
    found = weights(columns["validation"]["prediction"], columns["validation"]["value"])
    reports = {part: _report(info, columns[part], found) for part in PARTS}
    result = {
        "protocol": reports["test"].protocol,
        "model": "blend",
        "members": {str(m): float(w) for m, w in zip(members, found, strict=True)},
        "seconds": round(sum(d["seconds"] for d in done), 1),
        "peak_memory_mb": max(d["peak_memory_mb"] for d in done),
        **{part: report.result() for part, report in reports.items()},
    }
    with run_dir.locked():
        run_dir.path.mkdir(parents=True, exist_ok=True)
        reports["test"].save(run_dir.per_user)
        run_dir.write_json("metrics.json", result)
    return result


def _columns(runs: Sequence[RunDir], part: str) -> dict[str, np.ndarray]:
    """Users, items and values of a part's ratings, `[n]`, and all predictions, `[n, k]`."""
    first, *others = found = [run.load_predictions(part) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        if not all(np.array_equal(first[x], other[x]) for x in ("user", "item", "value")):
            raise ValueError(
                f"--runs: {run.path} was measured on other {part} ratings than {runs[0].path}: "
                "blend runs on one split of one data set"
            )
    return first | {"prediction": np.stack([x["prediction"] for x in found], axis=1)}


def _report(info: DatasetInfo, columns: dict[str, np.ndarray], found: np.ndarray):
    """The report of a blend on one part."""
    report = metrics.RatingReport(info)
    events = {"user": columns["user"], "item": columns["item"]}
    report.update(events, {"value": columns["value"]}, columns["prediction"] @ found)
    return report
