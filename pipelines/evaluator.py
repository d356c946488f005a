"""Evaluator: blesses a model, or gives the reasons why not.

blessing.json  whether it is blessed, the reasons if not, all metrics, each slice side by side
               with the model that is served now

A model is blessed if it meets every threshold and is not worse than the served model: neither in
total nor, with Holm's correction, on a slice, by the paired test of `tfrec.metrics.compare`.
"""

import dataclasses
import json
import pathlib
import re
from typing import Any

from absl import flags

from tfrec import cli
from tfrec.config import known_names

from . import artifacts, object_stores, trainer, transform

COMPONENT = "evaluator"
BLESSING = "blessing.json"
DEMANDS = ("not_worse", "better", "thresholds")
LEVEL = 0.05  # of the tests
_KEYS = {"blessed": bool, "reasons": list, "metric": str, "result": dict, "slices": dict}
_KEYS |= {"served": object, "protocol": str}
_LEAST = 20  # users of a slice for it to be tested
_THRESHOLD = re.compile(r"(?:(.+):\s*)?([\w@]+)\s*([<>])\s*(-?[\d.]+(?:e-?\d+)?)")

FLAGS = flags.FlagValues()
flags.DEFINE_string("rows", "", "prepared rows, as made by transform", flag_values=FLAGS)
flags.DEFINE_string("run_dir", "", "a run, as made by trainer", flag_values=FLAGS)
flags.DEFINE_string("against", "", "the run of the served model", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "threshold", [], "such as 'rmse<0.95' or 'new items: rmse<1.1'", flag_values=FLAGS
)
flags.DEFINE_string("bless", "not_worse", ", ".join(DEMANDS), flag_values=FLAGS)
flags.DEFINE_string("output", "", "the directory to make", flag_values=FLAGS)


@dataclasses.dataclass(frozen=True)
class Demand:
    """Requirements of a model.

    Attributes:
        thresholds: Such as "rmse<0.95", or "new items: rmse<1.1" on a slice.
        bless: "not_worse" or "better" than the served model, or only "thresholds".
    """

    thresholds: tuple[str, ...] = ()
    bless: str = "not_worse"

    def __post_init__(self):
        if self.bless not in DEMANDS:
            raise ValueError(
                f"--bless={self.bless} is unknown; " + known_names(self.bless, DEMANDS)
            )
        for text in self.thresholds:
            if not _THRESHOLD.fullmatch(text):
                raise ValueError(
                    f"--threshold {text!r} is not METRIC<NUMBER or METRIC>NUMBER, with SLICE: "
                    "before it for a slice"
                )


def run(
    rows: artifacts.Artifact,
    trained: artifacts.Artifact,
    served: artifacts.Artifact | None,
    demand: Demand,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
) -> artifacts.Artifact:
    """Evaluates a run on the test split of its rows and writes the blessing.

    Args:
        rows: Prepared data.
        trained: The run.
        served: The run of the model that is served now, if any.
        demand: The requirements.
        path: As in `artifacts.make`.
        root: As in `artifacts.make`.
    """

    def build(directory: pathlib.Path) -> None:
        blessing = judge(rows, trained, served, demand)
        text = json.dumps(blessing, indent=2, default=float) + "\n"
        (directory / BLESSING).write_text(text)
        print(table(blessing), flush=True)

    inputs = {"rows": rows, "run": trained} | ({"served": served} if served else {})
    settings = dataclasses.asdict(demand)
    return artifacts.make(path, COMPONENT, settings, inputs, build, root=root)


def judge(
    rows: artifacts.Artifact,
    trained: artifacts.Artifact,
    served: artifacts.Artifact | None,
    demand: Demand,
) -> dict[str, Any]:
    """The contents of blessing.json."""
    from tfrec.training import readings, runs

    run_dir = runs.RunDir(trained.path)
    model = run_dir.load_model()
    metric = model.task_object.monitor
    compared = served if demand.bless != "thresholds" else None
    new, old, reasons = _measured(rows, model, compared)
    readings.append(run_dir.config(), new.protocol, COMPONENT)
    table = _side_by_side(new, old, metric)
    reasons += _missed(demand.thresholds, new)
    if old:
        reasons += _worse(table, metric, model.task_object.higher_is_better(metric), demand.bless)
    return {
        "blessed": not reasons,
        "reasons": reasons,
        "metric": metric,
        "result": new.result,
        "slices": table,
        "served": served.fingerprint if served else None,
        "protocol": new.protocol,
    }


def _measured(rows: artifacts.Artifact, model, served: artifacts.Artifact | None):
    """Measures the new model, and the served one if there is one that can be compared.

    Returns:
        Both measurements, and the reasons why there is no second one.
    """
    import numpy as np

    from . import measure, slices

    nothing = np.zeros(0, np.int64)
    other, learned, reasons = None, nothing, []
    if served:
        try:
            other, learned = _served_model(served, rows, model)
        except ValueError as error:
            reasons.append(
                f"the served model cannot be compared ({error}); --bless=thresholds goes without"
            )
    known = _items_of(served) if other is not None else None
    cut = slices.of(rows.path, model.info, known)
    if other is not None:
        try:
            both = [measure.measure(each, rows.path, cut, learned) for each in (model, other)]
            return *both, reasons
        except ValueError as error:
            reasons.append(
                f"all test data was used in training of the served model ({error}): use "
                "--split=time"
            )
    return measure.measure(model, rows.path, cut, nothing), None, reasons


def _side_by_side(new, old, metric: str) -> dict[str, dict]:
    """A metric on each slice, compared with the served model where enough users are in it."""
    from tfrec import metrics

    table: dict[str, dict] = {}
    for name, values in new.values.items():
        table[name] = {"users": len(values.users), metric: metrics.metric_value(values, metric)}
        if old and len(values.users) >= _LEAST:
            found = metrics.compare(values, old.values[name], metric)
            table[name] |= {
                "served": metrics.metric_value(old.values[name], metric),
                "difference": found.mean_difference,
                "low": found.low,
                "high": found.high,
                "p": found.p_value,
            }
    return table


def _served_model(served: artifacts.Artifact, rows: artifacts.Artifact, model):
    """The served model, transferred to these rows, and the pairs that it was trained on."""
    import numpy as np

    from tfrec.data import fields, training_pairs
    from tfrec.models import registry
    from tfrec.schema import INFO_FILE
    from tfrec.training import runs, warm_start

    run = runs.RunDir(served.path)
    old, config = run.load_model(), run.config()
    if old.task != model.task or old.info.rows != model.info.rows:
        raise ValueError(f"it is for {old.task} with rows by {old.info.rows}")
    if served.inputs["rows"] == rows.fingerprint:
        return old, np.zeros(0, np.int64)
    old_dir = _rows_of(served)
    if not (old_dir / INFO_FILE).exists():
        raise ValueError(f"its data in {old_dir} is gone")
    carried = registry.model_class(config.model).create(model.info, config.model_config)
    if carried.reads == "events":
        carried.take_tables(fields.read(rows.path))
    warm_start.transfer(old, carried, old_dir, rows.path)
    return carried, training_pairs.trained_on(old_dir, old.info, rows.path, model.info)


def _items_of(run: artifacts.Artifact) -> set[str]:
    """Raw ids of the items that a run knows."""
    from tfrec.data import vocabulary
    from tfrec.schema import ITEMS_FILE

    return set(vocabulary.read(_rows_of(run) / ITEMS_FILE))


def _rows_of(run: artifacts.Artifact) -> pathlib.Path:
    """The data that a run was trained on."""
    from tfrec.training import runs

    data_dir = pathlib.Path(runs.RunDir(run.path).config().data_dir)
    object_stores.fetch(data_dir)
    return data_dir


def _missed(thresholds: tuple[str, ...], new) -> list[str]:
    """Descriptions of the thresholds that do not hold.

    Raises:
        ValueError: unknown metric or slice.
    """
    from tfrec import metrics

    missed = []
    for text in thresholds:
        name, metric, sign, number = _THRESHOLD.fullmatch(text).groups()
        if name is None:
            if metric not in new.result:
                raise ValueError(f"--threshold {text!r}: " + known_names(metric, new.result))
            found = new.result[metric]
        elif name in new.values:
            found = metrics.metric_value(new.values[name], metric)
        else:
            raise ValueError(
                f"--threshold {text!r}: no such slice; {known_names(name, new.values)}"
            )
        if not (found < float(number) if sign == "<" else found > float(number)):
            missed.append(f"{text} does not hold: it is {found:.4f}")
    return missed


def _worse(table: dict[str, dict], metric: str, higher: bool, bless: str) -> list[str]:
    """Describes where the new model is significantly worse than the served one, or not better."""
    from tfrec import metrics

    tested = [name for name, row in table.items() if "p" in row]
    adjusted = dict(zip(tested, metrics.holm([table[n]["p"] for n in tested]), strict=True))
    reasons = []
    for name in tested:
        row = table[name]
        is_worse = (row["difference"] < 0) == higher and row["difference"] != 0
        p = row["p"] if name == "all" else adjusted[name]
        where = "" if name == "all" else f" on the slice {name!r}"
        if is_worse and p < LEVEL:
            reasons.append(
                f"worse than the served model{where}: {metric} {row[metric]:.4f}, served "
                f"{row['served']:.4f}, p = {p:.4f}"
            )
        elif name == "all" and bless == "better" and (is_worse or p >= LEVEL):
            reasons.append(
                f"not significantly better than the served model: {metric} {row[metric]:.4f}, "
                f"served {row['served']:.4f}, p = {p:.4f}"
            )
    return reasons


def table(blessing: dict[str, Any]) -> str:
    """The blessing as a table."""
    metric = blessing["metric"]
    lines = [f"{'slice':28}{'users':>9}{metric:>12}{'served':>10}{'p':>9}"]
    for name, row in blessing["slices"].items():
        line = f"{name[:27]:28}{row['users']:>9,}{row[metric]:>12.4f}"
        lines.append(line + (f"{row['served']:>10.4f}{row['p']:>9.4f}" if "p" in row else ""))
    verdict = "blessed" if blessing["blessed"] else "not blessed: " + "; ".join(blessing["reasons"])
    return "\n".join([*lines, verdict])


def read(path: pathlib.Path) -> dict[str, Any]:
    """The blessing in an artefact.

    Raises:
        ValueError: it is damaged.
    """
    return artifacts.read_json(path / BLESSING, _KEYS)


def main() -> None:
    """Evaluates a run; fails if it is not blessed."""
    load = artifacts.Artifact.load
    rows = load(cli.require(FLAGS, "rows"), transform.COMPONENT)
    trained = load(cli.require(FLAGS, "run_dir"), trainer.COMPONENT)
    served = load(FLAGS.against, trainer.COMPONENT) if FLAGS.against else None
    demand = Demand(tuple(FLAGS.threshold), FLAGS.bless)
    output = pathlib.Path(cli.require(FLAGS, "output"))
    cli.start_tensorflow()
    blessing = read(run(rows, trained, served, demand, output).path)
    if not blessing["blessed"]:
        raise ValueError("not blessed: " + "; ".join(blessing["reasons"]))
    print(f"next: python -m {__package__}.pusher --run_dir={trained.path} --blessing={output}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Evaluates a run by slices, against thresholds and the served model.",
    f"python -m {__package__}.evaluator --rows=rows --run_dir=run --threshold='ndcg@100>0.3' "
    "--output=blessing",
)

if __name__ == "__main__":
    COMMAND.run()
