"""Comparison of runs in one table: metrics with intervals, significance tests, cost."""

import collections
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tfrec import pages
from tfrec.api import fitting
from tfrec.api.fitting import Model
from tfrec.api.prepared_data import PathLike, PreparedData
from tfrec.api.run import Run
from tfrec.metrics import (
    RankingReport,
    SavedValues,
    comparable,
    comparison,
    higher_is_better,
    holm,
    interval,
)
from tfrec.pages import Page, Section, Table
from tfrec.training import lists
from tfrec.training.runs import RunDir

Candidate = Run | Model | PathLike
_COST = ("seconds", "cpu_seconds", "memory_mb", "parameters")


@dataclasses.dataclass(frozen=True)
class ComparedRuns:
    """Runs on the same test set, the best first.

    Attributes:
        frame: A row for each run, indexed by its name. For each metric its value and, as
            `METRIC low` and `METRIC high`, the 95 % bootstrap interval over test users; `to_best`,
            the paired difference of the first metric to the best run, and `p_value`, two-sided, of
            the paired randomization test against the best run, adjusted by Holm's method (missing
            for the best); `seconds`, `cpu_seconds` (of training), `memory_mb` and `parameters`.
        metrics: The metrics; runs are ordered and tested by the first one.
        protocol: The protocol that all runs were evaluated by.
    """

    frame: pd.DataFrame
    metrics: tuple[str, ...]
    protocol: str

    def printed(self) -> pd.DataFrame:
        """The frame as text: a column for each metric, intervals in brackets."""
        columns = {
            name: self.frame.apply(_with_interval, axis=1, args=(name,)) for name in self.metrics
        }
        columns["to best"] = self.frame["to_best"].map("{:+.4f}".format)
        columns["p"] = self.frame["p_value"].map(lambda p: "-" if pd.isna(p) else f"{p:.4f}")
        for name in _COST:
            shown = self.frame[name].map(lambda x: "-" if pd.isna(x) else f"{x:,.0f}")
            columns[name.replace("_", " ")] = shown
        return pd.DataFrame(columns).rename_axis(None)

    def __str__(self) -> str:
        return (
            f"{self.printed().to_string()}\n"
            f"[95 % interval over test users]; p of the difference in {self.metrics[0]} to the "
            f"best run, paired, Holm's correction\nprotocol: {self.protocol}"
        )

    __repr__ = __str__

    def table(self) -> Table:
        """The comparison as a table of a page."""
        shown = self.printed()
        note = (
            f"95 % intervals over test users; p of the paired difference in {self.metrics[0]} to "
            "the best run, adjusted by Holm's method. " + self.protocol + "."
        )
        rows = [(str(name), *row) for name, *row in shown.itertuples()]
        return Table("Runs, the best first", ("run", *shown.columns), rows, note=note)

    def _repr_html_(self) -> str:
        return pages.fragment(self.table())

    def save_html(self, path: PathLike) -> None:
        """Writes a self-contained HTML page."""
        pages.write(Page("Comparison of runs", [Section("Comparison", [self.table()])]), path)


def compare(
    runs: Sequence[Candidate],
    data: PreparedData | PathLike | None = None,
    *,
    metrics: Sequence[str] = (),
    run_dir: PathLike = "runs/compare",
    verbose: bool = True,
    **settings: Any,
) -> ComparedRuns:
    """Compares runs on the test set, paired by user; models are trained first.

    Runs of different tasks, such as ratings and rankings, are compared by the ranked lists that
    they serve: hits are the held-out items that users liked (`tfrec.training.lists`).

        print(tfrec.compare(["popularity", "ease", run], split))

    Args:
        runs: Runs, run directories, or models as `tfrec.fit` takes them.
        data: Prepared data to train models on.
        metrics: Names of metrics; default: those of the task's summary. Runs are ordered by the
            first.
        run_dir: Folder of the trained models, each in its own subfolder; a finished run with the
            same settings is reused, and an interrupted one is resumed.
        verbose: Print what is trained.
        **settings: Training settings for all models, such as `seed=1`.

    Raises:
        ValueError: a model without data, unknown settings or metrics, or runs whose test values
            cannot be compared, because data or protocols differ.
    """
    found = [_run(each, data, pathlib.Path(run_dir), verbose, settings) for each in runs]
    if len(found) < 2:
        raise ValueError("give at least two runs or models to compare")
    if len({run.config.task.report for run in found}) > 1:
        protocol, values = _lists(found)
        chosen = tuple(metrics) or (f"ndcg@{lists.CUT}", f"hr@{lists.CUT}")
    else:
        protocol = _common_protocol(found)
        values = [RunDir(run.path).load_per_user() for run in found]
        chosen = tuple(metrics) or _common_metrics(found, values)
    return ComparedRuns(_table(names_of(found), found, values, chosen), chosen, protocol)


def _run(
    candidate: Candidate,
    data: PreparedData | PathLike | None,
    folder: pathlib.Path,
    verbose: bool,
    settings: dict,
) -> Run:
    """The run itself, the run in a directory, or a model's run, trained unless it exists."""
    if isinstance(candidate, Run):
        return candidate
    if isinstance(candidate, pathlib.Path) or (
        isinstance(candidate, str) and (pathlib.Path(candidate) / "config.json").exists()
    ):
        return Run(candidate)
    model = candidate
    if data is None:
        raise ValueError(
            f"{candidate!r} is no run directory; to train a model of that name give prepared data "
            "(compare(runs, data), or --data_dir)"
        )
    prepared = data if isinstance(data, PreparedData) else PreparedData(data)
    path = folder / _folder(model, prepared, settings)
    if verbose:
        print(f"{path}", flush=True)
    return fitting.fit(
        model, prepared, run_dir=path, resume=(path / "config.json").exists(),
        check_export=False, verbose=verbose, **settings,
    )  # fmt: skip


def _folder(model: Model, data: PreparedData, settings: dict) -> str:
    """The folder name of a model with these settings on this data."""
    cls, config = fitting.class_and_settings(model)
    made_of = {
        "data": data.info.fingerprint,
        "model": dataclasses.asdict(config),
        "training": settings,
    }
    code = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()
    return f"{cls.__name__.lower()}-{code[:8]}"


def _common_protocol(runs: Sequence[Run]) -> str:
    """The protocol of all runs.

    Raises:
        ValueError: a run was not tested, or has another protocol than the first.
    """
    protocols = []
    for run in runs:
        if not run.metrics["test"]:
            raise ValueError(f"{run.path} has no test values: it was trained with test=False")
        protocols.append(run.metrics["protocol"])
        mine, first = (_statements(p) for p in (protocols[-1], protocols[0]))
        if mine != first:
            raise ValueError(
                f"{run.path} and {runs[0].path} were measured by different protocols: "
                f"{'; '.join(sorted(mine - first)) or 'nothing'} only in the former, "
                f"{'; '.join(sorted(first - mine)) or 'nothing'} only in the latter"
            )
    return protocols[0]


def _lists(runs: Sequence[Run]) -> tuple[str, list[SavedValues]]:
    """The protocol of lists, and the values by user of each run.

    Raises:
        ValueError: runs on different data, or no user liked any test item.
    """
    split = _statements(runs[0].info.protocol)
    values = []
    for run in runs:
        other = _statements(run.info.protocol)
        if other != split:
            raise ValueError(
                f"{run.path} and {runs[0].path} were tested on different data: "
                f"{run.info.protocol} and {runs[0].info.protocol}"
            )
        found: list[RankingReport] = lists.reports(run.model, lists.HeldOut(run.data_dir, "test"))
        if not found:
            raise ValueError(f"{run.path}: no user liked any test item, so lists have no hits")
        values.append(SavedValues(found[0].users, found[0].per_user(), found[0].protocol))
    rule = next(filter(None, (lists.protocol(run.model) for run in runs)), "")
    return f"{runs[0].info.protocol}{rule}", values


def _statements(protocol: str) -> set[str]:
    """The parts of a protocol, except the axis of rows, which does not change the test set."""
    statements = {part.strip() for part in protocol.replace("; ", ", ").split(", ")}
    return statements - {"rows by user", "rows by item"}


def _common_metrics(runs: Sequence[Run], values: Sequence[SavedValues]) -> tuple[str, ...]:
    """The metrics of the task's summary that all runs have, the monitored one first."""
    task = runs[0].config.task
    wanted = dict.fromkeys((task.monitor, *task.figures()))
    common = set.intersection(*(set(comparable(saved)) for saved in values))
    return tuple(name for name in wanted if name in common) or tuple(sorted(common))[:3]


def names_of(runs: Sequence[Run]) -> list[str]:
    """The runs' models, or their paths where models repeat."""
    models = [run.config.model for run in runs]
    n = collections.Counter(models)
    return [m if n[m] == 1 else str(run.path) for m, run in zip(models, runs, strict=True)]


def _table(
    names: Sequence[str],
    runs: Sequence[Run],
    values: Sequence[SavedValues],
    metrics: Sequence[str],
) -> pd.DataFrame:
    """The frame of `ComparedRuns`."""
    rows = []
    for run, saved in zip(runs, values, strict=True):
        row: dict[str, float] = {}
        for name in metrics:
            found = interval(saved, name)
            row |= {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
        rows.append(row | _cost(run))
    first = metrics[0]
    reports = (run.config.task.report for run in runs)
    report = next(r for r in reports if first.partition("@")[0] in r.directions)
    sign = -1 if higher_is_better(first, report) else 1
    order = sorted(range(len(runs)), key=lambda i: sign * rows[i][first])
    best = order[0]
    pairs = [comparison.compare(values[i], values[best], first) for i in order[1:]]
    frame = pd.DataFrame([rows[i] for i in order], pd.Index([names[i] for i in order], name="run"))
    position = len(frame.columns) - len(_COST)
    frame.insert(position, "to_best", [0.0, *(pair.mean_difference for pair in pairs)])
    frame.insert(position + 1, "p_value", [float("nan"), *holm([p.p_value for p in pairs])])
    return frame


def _cost(run: Run) -> dict[str, float]:
    """The cost of the run; NaN where an older version did not record it."""
    measured, history = run.metrics, run.history
    cpu = history["cpu_seconds"].sum() if "cpu_seconds" in history else float("nan")
    return {
        "seconds": measured["seconds"],
        "cpu_seconds": float(cpu),
        "memory_mb": measured["peak_memory_mb"],
        "parameters": run.model.count_params(),
    }


def _with_interval(row: pd.Series, name: str) -> str:
    return f"{row[name]:.4f} [{row[f'{name} low']:.4f}, {row[f'{name} high']:.4f}]"
