"""Sections from the run's files: protocol, metrics, learning curves, calibration."""

import typing

import numpy as np
import pandas as pd

from tfrec.api import comparing
from tfrec.api.reporting.measured import Measured
from tfrec.metrics import Interval, SavedValues, comparable, interval
from tfrec.metrics import calibration as calibrations
from tfrec.metrics.comparison import auc_interval
from tfrec.pages import Details, Panels, Plot, Section, Table, Text, chart
from tfrec.training import summaries


def protocol(m: Measured) -> Section:
    """The protocol, and the configuration of the run."""
    run, info = m.run, m.info
    measured, train = run.metrics, run.config.train
    parts = ", ".join(f"{n:,} {part.replace('_', ' ')}" for part, n in info.n_ratings.items() if n)
    ids = f"{info.n_users:,} users, {info.n_items:,} items; " if info.has_ids else ""
    settings = ", ".join(f"{n}={_plain(v)}" for n, v in run.config.settings.items())
    rows = [
        ("Run", str(run.path)),
        ("Model", f"{type(run.model).__name__}, {run.model.count_params():,} parameters"),
        ("Settings", settings or "none"),
        ("Data", f"{info.name}: {ids}interactions: {parts}"),
        ("Epochs", f"{_epochs(measured)}seed {train.seed}"),
        ("Cost", f"{measured['seconds']:,} s, {measured['peak_memory_mb']:,} MB of memory at most"),
        ("Versions", ", ".join(f"{n} {v}" for n, v in run.config.versions.items()) or "unknown"),
        ("Data fingerprint", info.fingerprint[:16]),
    ]
    return Section(
        "Protocol",
        [Text(f"{measured['protocol']}."), Table("Configuration", (), rows, is_text=True)],
    )


def _epochs(measured: dict) -> str:
    """Number of epochs and the best one; an ensemble has none."""
    return "{epochs}, the best {best_epoch}; ".format(**measured) if "epochs" in measured else ""


def metrics(m: Measured) -> Section:
    """Test metrics with intervals, validation metrics and the floors."""
    measured = m.run.metrics
    floors = measured.get("floors", {})
    names = [name for name in m.task.table or m.test if name in m.test]
    columns = [measured["validation"], *floors.values()]
    rows = [
        (name, _with_interval(m.test[name], _interval(m, name)), *_numbers(name, columns))
        for name in names
    ]
    head = (
        "metric",
        "test [95 % interval]",
        "validation",
        *(f"{name}, test" for name in floors),
    )
    warnings = [
        *summaries.loss_grew(measured),
        *summaries.below_floors(measured, m.run.config.model),
    ]
    unit = "users" if m.info.has_ids else "blocks of rows"
    of_auc = "; of auc: normal approximation (Hanley and McNeil, 1982)" if "auc" in names else ""
    note = (
        f"Intervals: percentile bootstrap over {len(m.saved.users):,} test {unit}, 2,000 draws"
        f"{of_auc}. They do not cover other splits or other training seeds."
        + (" Floors are the simplest models on the same test set." if floors else "")
    )
    others = [(name, *_numbers(name, [m.test, *columns])) for name in m.test if name not in names]
    more = Table("All other metrics", ("metric", "test", *head[2:]), others)
    return Section(
        "Metrics",
        [
            *(Text(line, "warning") for line in warnings),
            Table("Test, validation and floors", head, rows, note=note),
            *([Details(f"More metrics ({len(others)})", [more], is_open=False)] if others else []),
        ],
    )


def comparison(m: Measured) -> Section | None:
    """All runs in one table, with significance tests."""
    if not m.against:
        return None
    found = comparing.compare([m.run, *m.against], verbose=False)
    return Section("Comparison", [found.table()])


def curves(m: Measured) -> Section:
    """Training loss and validation metrics by epoch."""
    run, history, task = m.run, m.run.history, m.task
    if len(history) < 2:
        text = f"{len(history)} epoch: there is no curve." if len(history) else "No epochs."
        return Section("Learning curves", [Text(text, "note")])
    best = run.metrics["best_epoch"]
    monitor = run.config.train.monitor or task.monitor
    wanted = dict.fromkeys((monitor, *task.figures()))
    names = [f"val_{name}" for name in wanted if f"val_{name}" in history]
    note = f"The model of epoch {best} was kept: the best by validation {monitor}."
    plots = [_curve(history, "loss", "Training loss")]
    plots += [_curve(history, name, f"Validation: {name[4:]}", best) for name in names]
    return Section("Learning curves", [Panels(plots), Text(note, "note")])


def _curve(history: pd.DataFrame, column: str, title: str, best: int | None = None) -> Plot:
    """A column of the history by epoch, with the best epoch marked."""
    epochs, values = history["epoch"], history[column]
    series = {column.removeprefix("val_"): (epochs, values)}
    if best is not None and (epochs == best).any():
        series["best epoch"] = ([best], values[epochs == best])
    name = column.removeprefix("val_")
    drawn = chart.lines(title, series, "epoch", name)
    rows = [(str(e), f"{v:.4g}") for e, v in zip(epochs, values, strict=True)]
    return Plot(drawn, Table(title, ("epoch", name), rows))


def calibration(m: Measured) -> Section | None:
    """Predictions against actual values, for tasks that predict values."""
    found = m.interactions
    if found is None:
        return None
    value, prediction, info = found["value"], found["prediction"], m.info
    ends = info.rating_min, info.rating_max
    bins = calibrations.by_prediction(prediction, value, *ends)
    curve = chart.lines(
        "Calibration: predicted against actual",
        {"held-out interactions": (bins.predicted, bins.actual)},
        "mean prediction", "mean actual value", marks=True, diagonal=True,
    )  # fmt: skip
    note = "Bins of equal width of the prediction; the dashed line is perfect calibration."
    by_value = calibrations.by_value(prediction, value)
    labels = [_ends(low, high) for low, high in zip(by_value.low, by_value.high, strict=True)]
    errors = chart.bars(
        "Error by actual value", labels, {"RMSE": by_value.rmse}, "actual value", "RMSE"
    )
    plots = [
        Plot(curve, _bins("By prediction", "prediction", bins), note),
        Plot(errors, _bins("By actual value", "actual value", by_value)),
    ]
    return Section("Calibration", [Panels(plots)])


def _bins(caption: str, first: str, bins: calibrations.Bins) -> Table:
    rows = [
        (_ends(low, high), f"{n:,}", f"{predicted:.3f}", f"{actual:.3f}", f"{rmse:.3f}")
        for low, high, n, predicted, actual, rmse in zip(
            bins.low, bins.high, bins.count, bins.predicted, bins.actual, bins.rmse, strict=True
        )
    ]
    return Table(caption, (first, "interactions", "mean prediction", "mean actual", "RMSE"), rows)


def _with_interval(value: float, found: Interval | None) -> str:
    shown = summaries.number(value)
    return f"{shown} [{found.low:.4f}, {found.high:.4f}]" if found else shown


def _interval(m: Measured, name: str) -> Interval | None:
    """The interval of a test metric; None if it has none."""
    if name == "auc":
        positives = round(m.test["positives"] * m.test["n_events"])
        return auc_interval(m.test["auc"], positives, int(m.test["n_events"]) - positives)
    lists = SavedValues(np.zeros(0), {}, "") if m.task.ranks or not m.listed else m.listed[0].values
    for saved in (m.saved, lists):
        if name in comparable(saved):
            return interval(saved, name)
    return None


def _numbers(name: str, columns: typing.Sequence[dict[str, float]]) -> list[str]:
    return [summaries.number(column.get(name)) for column in columns]


def _ends(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
