"""Summaries as text: of data and model, of metrics, and of two runs compared."""

import pathlib

from tfrec import metrics
from tfrec.data import info_text, protocol, vocabulary
from tfrec.models.base import Recommender
from tfrec.schema import USERS_FILE, DatasetInfo
from tfrec.tasks import Task
from tfrec.training.loop import CURE
from tfrec.training.runs import RunDir

GREW = 100  # times the loss of the first step: a larger rise means that training has diverged
CURES = {
    "biases": "try --train patience=5 with more epochs, another learning_rate or weight_decay, "
    "--set base=biases where the model has it, or take --model=biases",
    "popularity": "try more epochs or another learning_rate, a model that ranks (--model=ease), "
    "or take --model=popularity",
}


def compare_runs(a: str, b: str, metric: str = "") -> str:
    """The paired comparison of two runs' test values as text, by default by the task's metric."""
    ours, theirs = (RunDir(path).load_per_user() for path in (a, b))
    found = metrics.compare(ours, theirs, metric or RunDir(a).task().monitor)
    return f"{a} against {b}: {found}"


def first_user(data_dir: str) -> str:
    """Raw id of a user, for example commands."""
    return vocabulary.read(pathlib.Path(data_dir) / USERS_FILE)[0]


def next_step(info: DatasetInfo, path: str, data_dir: str) -> str:
    """A command that uses the finished run."""
    if not info.has_ids:
        return f"python -m tfrec.export --run_dir={path}"
    return f"python -m tfrec.recommend --run_dir={path} --user={first_user(data_dir)}"


def summary(info: DatasetInfo, model: Recommender) -> str:
    """Data and model, in three lines."""
    name, size = type(model).__name__, model.count_params()
    ignored = "" if model.uses_values else protocol.ignored_values(info)
    if ignored and hasattr(model.config, "confidence"):
        ignored += " (--set confidence=log uses them)"
    return f"{info_text.of(info)}\nmodel: {name}, {size:,} parameters{ignored}"


def table(result: dict, task: Task) -> str:
    """A table of validation and test, with the floors on test, cost and protocol.

    `metrics.json` holds more metrics.
    """
    columns = {part: result[part] for part in ("validation", "test")} | result.get("floors", {})
    rows = [f"{'':22}" + "".join(f"{name:>12}" for name in columns)]
    measured = {**result["validation"], **result["test"]}
    for name in (name for name in task.table or measured if name in measured):
        values = [column.get(name) for column in columns.values()]
        rows.append(f"{name:22}" + "".join(f"{number(v):>12}" for v in values))
    cost = f"{result['seconds']} s, {result['peak_memory_mb']:,} MB at most"
    if "epochs" in result:
        cost = f"best epoch {result['best_epoch']} of {result['epochs']}, {cost}"
    return "\n".join([*rows, cost, f"protocol: {result['protocol']}"])


def loss_grew(result: dict) -> list[str]:
    """A warning where the training loss ended orders of magnitude above its start.

    Args:
        result: The content of `metrics.json`.
    """
    first, last = (result.get("loss", {}).get(name) for name in ("first_step", "last_epoch"))
    if not first or not last or last < GREW * first or first < 0:
        return []
    return [
        f"THE LOSS GREW: {first:.3g} after the first step, {last:.3g} in the last epoch: {CURE}"
    ]


def below_floors(result: dict, model: str) -> list[str]:
    """A warning for each floor that is better than the run, with what to try.

    Args:
        result: The content of `metrics.json`.
        model: Name of the run's model.
    """
    compared = {"biases": ("rmse",), "popularity": ("ndcg@10", "hr@10")}
    lines = []
    for floor, metrics_of in compared.items():
        for name in metrics_of:
            own, due = result["test"].get(name), result.get("floors", {}).get(floor, {}).get(name)
            if floor == model or own is None or due is None:
                continue
            if own > due if name == "rmse" else own < due:
                lines.append(
                    f"BELOW ITS FLOOR: {name} {number(own)} on test, {floor} gets {number(due)}: "
                    + CURES[floor]
                )
                break
    return lines


def ensemble(result: dict, task: Task) -> str:
    """An ensemble's weights and its metrics."""
    lines = [f"{weight:.3f} of {member}" for member, weight in result["members"].items()]
    return "\n".join([*lines, table(result, task)])


def number(value: float | None) -> str:
    """A metric as text: counts in full, others with four digits."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
