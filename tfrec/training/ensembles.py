"""Several finished runs as one: a weighted sum of their scores, chosen on validation."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import scipy.optimize

from tfrec import config as config_lib
from tfrec import metrics
from tfrec.data import vocabulary
from tfrec.metrics import Report
from tfrec.models import registry
from tfrec.models.ensemble import TASKS, Ensemble, base_of, needs_user
from tfrec.schema import ITEMS_FILE, USERS_FILE
from tfrec.training import batches, evaluation, lists, readings, record
from tfrec.training.run_config import RunConfig, versions
from tfrec.training.runs import RunDir

PARTS = ("validation", "test")
STEPS = 10  # of ensemble selection: weights are tenths, or coarser
Chosen = tuple[tuple[float, ...], dict[str, Report]]  # weights, and the reports of both parts


def ensemble(members: Sequence[str], path: str, overwrite: bool = False) -> dict:
    """Combines finished runs and writes a run directory: config, model, metrics, values by user.

    Ratings: the weights are fitted to the members' validation predictions, made before any refit by
    models that had not seen those ratings, and then applied to the test predictions of the refitted
    models. Rankings: see `of_rankings`. Either way the ensemble's
    validation metrics are measured on the data that its weights were chosen on.

    Args:
        members: The runs' directories, at least two.
        path: `--run_dir` of the ensemble.
        overwrite: Replace an existing run.

    Returns:
        The content of `metrics.json`; "members" has the weights.

    Raises:
        FileNotFoundError: a member is not finished, or has no predicted ratings.
        ValueError: too few members, members that cannot be combined, or `path` holds a run.
    """
    run_dir = RunDir(path)
    if run_dir.trained and not overwrite:
        raise ValueError(
            f"--run_dir={path} already holds a run: give another --run_dir, or --overwrite"
        )
    runs = [RunDir(member) for member in members]
    check(runs)
    done = [run.metrics() for run in runs]
    columns = {part: _columns(runs, part) for part in PARTS} if not runs[0].task().ranks else {}
    model, base = _model(runs)
    config = runs[base].config()
    if columns:
        chosen, reports = of_ratings(model, columns)
    else:
        chosen, reports = of_rankings(runs, model, config)
    model.weigh(chosen)
    result = {
        "protocol": evaluation.protocol(model, reports["test"]),
        "model": registry.ENSEMBLE,
        "members": dict(zip(map(str, members), chosen, strict=True)),
        "seconds": round(sum(d["seconds"] for d in done), 1),
        "cpu_seconds": round(sum(d.get("cpu_seconds", 0.0) for d in done), 1),
        "peak_memory_mb": max(d["peak_memory_mb"] for d in done),
        **{part: report.result() for part, report in reports.items()},
    }
    result["test"] |= lists.result(model, lists.HeldOut(config.data_dir, "test"))
    if "floors" in done[base]:
        result["floors"] = done[base]["floors"]
    _write(run_dir, model, config, result, reports["test"], overwrite)
    return result


def _model(runs: Sequence[RunDir], validated: bool = False) -> tuple[Ensemble, int]:
    """The ensemble of the runs' models with equal weights, and the index of its base run.

    Args:
        runs: The members.
        validated: Take those before a refit, which did not see validation.
    """
    models = [run.load_model(validated=validated and run.config().train.refit) for run in runs]
    settings = Ensemble.Config(
        runs=tuple(str(run.path.absolute()) for run in runs),
        data_dirs=tuple(str(run.data_dir()) for run in runs),
        weights=(1 / len(runs),) * len(runs),
        combines=str(models[0].task),
    )
    return Ensemble.of(models, settings), base_of(models)


def _write(
    run_dir: RunDir,
    model: Ensemble,
    base: RunConfig,
    result: dict,
    test: Report,
    overwrite: bool,
) -> None:
    """Writes the run directory; `metrics.json`, which marks it as finished, last."""
    config = dataclasses.replace(
        base, model=registry.ENSEMBLE, settings=config_lib.to_dict(model.config), preset="",
        warm_start="", versions=versions(),
    )  # fmt: skip
    with run_dir.locked():
        run_dir.start(config, overwrite=overwrite)
        run_dir.save_model(model)
        test.save(run_dir.per_user)
        readings.append(config, result["protocol"], "ensemble")
        run_dir.write_json(record.FILE, record.of_run(config, result, test))
        run_dir.write_json("metrics.json", result)


def check(runs: Sequence[RunDir]) -> None:
    """Refuses runs that cannot be combined, before any work.

    Raises:
        FileNotFoundError: no finished run.
        ValueError: names the run and the reason.
    """
    paths = [str(run.path) for run in runs]
    if len(runs) < 2:
        raise ValueError(f"--runs={','.join(paths)}: an ensemble takes two runs, or more")
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise ValueError(f"--runs: {twice[0]} is named twice; leave one out")
    for run in runs:
        run.metrics()  # raises unless the run is finished
        if run.config().model == registry.ENSEMBLE:
            raise ValueError(f"--runs: {run.path} is an ensemble itself; name its members")
    first, *others = runs
    if first.task().name not in TASKS:
        raise ValueError(
            f"--runs: {first.path} is a run of the task {first.task().name}; an ensemble combines "
            "ratings, or rankings"
        )
    for run in others:
        if run.task().name != first.task().name:
            raise ValueError(
                f"--runs: the task of {run.path} is {run.task().name}, that of {first.path} is "
                f"{first.task().name}: combine runs of one task"
            )
        _refuse_other_data(first, run)


def _refuse_other_data(first: RunDir, run: RunDir) -> None:
    """Refuses a run with other users or items, or in another order."""
    folders = first.data_dir(), run.data_dir()
    for name in (USERS_FILE, ITEMS_FILE) if folders[0] != folders[1] else ():
        one, other = (vocabulary.read(folder / name) for folder in folders)
        if one != other:
            raise ValueError(
                f"--runs: {run.path} was trained on other data than {first.path}: {name} of "
                f"{folders[1]} is not that of {folders[0]}; combine runs on one split of one data "
                "set"
            )


# ------------------------------------------------------------------ ratings


def weights(predictions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Non-negative least squares weights, without an intercept.

    Args:
        predictions: `[n, k]`, one column for each member.
        values: The ratings, `[n]`.

    Returns:
        float64 `[k]`.
    """
    return scipy.optimize.nnls(predictions, values)[0]


def of_ratings(model: Ensemble, columns: dict[str, list[dict[str, np.ndarray]]]) -> Chosen:
    """Weights for ratings, by least squares on validation.

    Args:
        model: The ensemble.
        columns: The predictions of each member, by part.
    """
    validation = columns["validation"]
    predicted = np.stack([x["prediction"] for x in validation], axis=1)
    found = tuple(map(float, weights(predicted, validation[0]["value"])))
    reports: dict[str, Report] = {part: metrics.RatingReport(model.info) for part in PARTS}
    for part, report in reports.items():
        evaluation.add_weighted(report, columns[part], found)
    return found, reports


def _columns(runs: Sequence[RunDir], part: str) -> list[dict[str, np.ndarray]]:
    """Each run's predictions of a part, whose ratings must be the same."""
    first, *others = found = [run.load_predictions(part) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        if not all(np.array_equal(first[x], other[x]) for x in ("user", "item", "value")):
            raise ValueError(
                f"--runs: {run.path} was measured on other {part} ratings than {runs[0].path}: "
                "combine runs on one split of one data set"
            )
    return found


# ------------------------------------------------------------------ rankings


def of_rankings(runs: Sequence[RunDir], model: Ensemble, config: RunConfig) -> Chosen:
    """Weights for rankings, by the validation metric that also selects epochs.

    Ensemble selection (Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from
    Libraries of Models", ICML 2004): each of `STEPS` steps adds, with replacement, the
    member with which the sum is best; a member's weight is its share of the additions. The best of
    all steps is taken, which is not worse than the best member. Members with a refit are chosen by
    their models before it.

    Args:
        runs: The members.
        model: The ensemble.
        config: Config of the run whose data and cutoffs are used.

    Raises:
        FileNotFoundError: a member with a refit has no model of before.
        ValueError: a member ranks for known users only.
    """
    _refuse_known_users(model)
    monitor = config.train.monitor or model.task_object.monitor
    judged = model
    if any(run.config().train.refit for run in runs):
        judged, _ = _model(runs, validated=True)
    evaluators = {"validation": evaluation.Evaluator(judged), "test": evaluation.Evaluator(model)}

    def measured(part: str) -> Report:
        evaluator = evaluators[part]
        report = evaluation.new_report(evaluator.model, config.data_dir, config.train.cuts)
        size, seed = config.train.eval_batch_size, config.train.seed
        evaluator(batches.read(model, config.data_dir, part, size, seed=seed), report)
        return report

    @functools.cache
    def quality(weights: tuple[float, ...]) -> float:
        judged.weigh(weights)
        return measured("validation").result()[monitor]

    added, steps = np.zeros(len(model.members), int), []
    for _ in range(STEPS):
        tried = [added + one for one in np.eye(len(added), dtype=int)]
        added = max(tried, key=lambda x: quality(tuple((x / x.sum()).tolist())))
        steps.append(tuple((added / added.sum()).tolist()))
    best = max(steps, key=quality)
    for each in (judged, model):
        each.weigh(best)
    return best, {part: measured(part) for part in PARTS}


def _refuse_known_users(model: Ensemble) -> None:
    """Refuses members that score no histories."""
    for path, member in zip(model.config.runs, model.members, strict=True):
        name = type(member).__name__
        if needs_user(member):
            raise ValueError(
                f"--runs: {path} ({name}) has weights of known users and scores no histories; "
                "an ensemble of rankings takes models that do"
            )
