"""Bayesian FM (Gibbs sampling) of the package `myfm`, on the splits of the rating presets.

    pip install myfm==0.4.0 "setuptools<81"
    python benchmarks/bayesian_fm.py [--data=ml-100k-u1|ml-1m] [--split fold=u2] [--rank=10]

Rendle, Zhang and Koren ("On the difficulty of evaluating baselines", 2019) find such models
ahead of all neural ones on ML-10M. An event is the one-hot user, item and day (UTC), and the
implicit blocks of SVD++ both ways: |N_u|^-1/2 at each item that the user rated and |U_i|^-1/2
at each user that rated the item, all from the training events only. Each of the five groups
has its own priors.

Trains on train + validation, as presets with `refit` do, and measures test, once; with
--validation trains on train and measures validation, for choosing. The prediction is the mean
over the samples after --burn_in, clipped to the rating range.

myfm 0.4.0 imports pkg_resources, which new versions of setuptools lack: hence the old one, best
in a separate environment with tfrec.
"""

import peers
from absl import flags

from tfrec import cli, overrides, presets

FLAGS = flags.FlagValues()
# The preset whose data settings are used, by data set.
DATA = {"ml-100k-u1": "autorec-ml100k-u1", "ml-1m": "mf-ml1m-random90"}
flags.DEFINE_enum("data", "ml-100k-u1", list(DATA), "which split", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "split", [], "a setting of the data instead of the preset's, repeatable", flag_values=FLAGS
)
flags.DEFINE_string("data_dir", "", "prepared data (default: that of --data)", flag_values=FLAGS)
flags.DEFINE_integer("rank", 10, "size of the vectors", 1, flag_values=FLAGS)
flags.DEFINE_integer("samples", 300, "Gibbs samples after burn-in", 1, flag_values=FLAGS)
flags.DEFINE_integer("burn_in", 20, "samples before them", 0, flag_values=FLAGS)
flags.DEFINE_bool("day", True, "the day as a feature", flag_values=FLAGS)
flags.DEFINE_bool("implicit", True, "SVD++'s blocks, both ways", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the sampler", flag_values=FLAGS)
flags.DEFINE_bool("validation", False, "measure validation instead of test", flag_values=FLAGS)
flags.DEFINE_string("out", "", "JSON file for settings and numbers", flag_values=FLAGS)

INSTALL = "pip install myfm==0.4.0 'setuptools<81'"
_DAY = 86_400


def main() -> None:
    """Trains, measures, prints."""
    myfm()  # before any work
    data = overrides.override(presets.preset(DATA[FLAGS.data]).data, FLAGS.split, "--split")
    data_dir, info = peers.prepared(data, FLAGS.data_dir)
    train, held_out = ("train", "validation") if FLAGS.validation else ("train+validation", "test")
    known, queries = (read(data_dir, info, part) for part in (train, held_out))
    predictions, cost = peers.timed(predict, known, queries, info.n_users, info.n_items)
    measured = measure(info, queries, predictions)
    settings = {n: FLAGS[n].value for n in ("rank", "samples", "burn_in", "day", "implicit")}
    result = {"protocol": info.protocol, "trained_on": train, "settings": settings}
    result |= {held_out: measured, **cost}
    print(f"{info.protocol}; trained on {train}\n{settings}")
    numbers = "  ".join(f"{name} {measured[name]:.4f}" for name in ("rmse", "mae"))
    print(f"{held_out} {numbers}  {cost['seconds']:.0f} s ({cost['cpu_seconds']:.0f} CPU s)")
    if FLAGS.out:
        peers.write_results(FLAGS.out, result)


def myfm():
    """The package; raises ValueError if it is not installed."""
    return peers.package("myfm", INSTALL)


def read(data_dir: str, info, part: str) -> dict:
    """All events of a part: "user", "item", "day" and "value", `[n]` each."""
    import numpy as np

    from tfrec.data import inputs

    batches = inputs.events(data_dir, info, part, 65_536, fill=True, context=("time",))
    columns = [
        (f["user"].numpy(), f["item"].numpy(), f["time"].numpy() // _DAY, t["value"].numpy())
        for f, t in batches
    ]
    user, item, day, value = (np.concatenate(column) for column in zip(*columns, strict=True))
    real = user >= 0
    return {"user": user[real], "item": item[real], "day": day[real], "value": value[real]}


def one_hot(codes, n: int):
    """`[k]` codes in [0, n) as scipy CSR `[k, n]`."""
    import numpy as np
    import scipy.sparse

    k = len(codes)
    return scipy.sparse.csr_matrix((np.ones(k), (np.arange(k), codes)), (k, n))


def day_codes(known, queries) -> tuple:
    """Days as codes: those of `known` from 1, others 0; and the number of codes."""
    import numpy as np

    days = np.unique(known)
    index = np.minimum(np.searchsorted(days, queries), len(days) - 1)
    queries = np.where(days[index] == queries, index + 1, 0)
    return np.searchsorted(days, known) + 1, queries, len(days) + 1


def block(row, column, n_rows: int, n_columns: int, implicit: bool):
    """Features of an id: its one-hot, and with `implicit` |N|^-1/2 at each of its N partners.

    Args:
        row: `[n]`, the training events' users (or items).
        column: `[n]`, their items (or users).
        n_rows: Number of users (or items).
        n_columns: Number of items (or users).
        implicit: Whether to include the partners.

    Returns:
        scipy CSR `[n_rows, n_rows + n_columns]`, or `[n_rows, n_rows]`.
    """
    import numpy as np
    import scipy.sparse

    itself = scipy.sparse.identity(n_rows, format="csr")
    if not implicit:
        return itself
    weights = 1 / np.sqrt(np.bincount(row, minlength=n_rows)[row])
    partners = scipy.sparse.csr_matrix((weights, (row, column)), (n_rows, n_columns))
    return scipy.sparse.hstack([itself, partners], format="csr")


def predict(known: dict, queries: dict, n_users: int, n_items: int):
    """Trains on `known`; returns the mean prediction for `queries`, `[n]`.

    Args:
        known: From `read`; the training events.
        queries: From `read`; its values are not used.
        n_users: Number of users.
        n_items: Number of items.
    """
    package = myfm()
    ids = {"user": (n_users, "item", n_items), "item": (n_items, "user", n_users)}
    blocks, groups = {}, []
    for name, (n, other, n_other) in ids.items():
        blocks[name] = block(known[name], known[other], n, n_other, FLAGS.implicit)
        groups += [n, n_other] if FLAGS.implicit else [n]

    def relations(events: dict) -> list:
        return [package.RelationBlock(events[name].tolist(), blocks[name]) for name in ids]

    main_known = main_asked = None
    if FLAGS.day:
        *codes, n_days = day_codes(known["day"], queries["day"])
        main_known, main_asked = (one_hot(code, n_days) for code in codes)
        groups = [n_days, *groups]
    model = package.MyFMGibbsRegressor(rank=FLAGS.rank, random_seed=FLAGS.seed)
    model.fit(
        main_known,
        known["value"],
        X_rel=relations(known),
        n_iter=FLAGS.burn_in + FLAGS.samples,
        n_kept_samples=FLAGS.samples,
        group_shapes=groups,
    )
    return model.predict(main_asked, relations(queries))


def measure(info, queries: dict, predictions) -> dict[str, float]:
    """The rating report's numbers."""
    from tfrec import metrics

    report = metrics.RatingReport(info)
    features = {"user": queries["user"], "item": queries["item"]}
    report.update(features, {"value": queries["value"]}, predictions)
    return report.result()


if __name__ == "__main__":
    cli.run(main, FLAGS, "Measures myfm's Bayesian FM.", "python benchmarks/bayesian_fm.py")
