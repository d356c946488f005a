"""iALS (Hu, Koren and Volinsky, ICDM 2008) of the package `implicit`, on held-out users.

    pip install implicit
    python benchmarks/ials.py [--fold_in=random|time] [--test]
    python benchmarks/ials.py --data_dir=DIR --factors=64,128 --regularization=1,5 --alpha=2

The data is that of the preset ease-ml1m-users, prepared if needed, or --data_dir. Trains on the
training users for every combination of the settings; a held-out user's factors are the least
squares solution for the fold-in, and the top 100 are measured by the same report as all models.
The best by validation NDCG@100 is printed, and with --test evaluated on test, once. `implicit`
minimises sum c (p - x'y)^2 + regularization (|x|^2 + |y|^2), where p and c are 1 and alpha if the
user has the item, else 0 and 1.
"""

import dataclasses
import itertools

import peers
from absl import flags

from tfrec import cli, presets

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", "", "prepared data (default: the preset's)", flag_values=FLAGS)
flags.DEFINE_enum("fold_in", "random", ["random", "time"], "input part", flag_values=FLAGS)
flags.DEFINE_list("factors", ["256", "512"], "sizes to try", flag_values=FLAGS)
flags.DEFINE_list("regularization", ["40", "50", "60"], "weights to try", flag_values=FLAGS)
flags.DEFINE_list("alpha", ["4", "5", "8"], "confidences to try", flag_values=FLAGS)
flags.DEFINE_list("iterations", ["10"], "numbers of sweeps to try", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the factors", flag_values=FLAGS)
flags.DEFINE_integer("threads", 0, "of implicit, 0 for all cores", flag_values=FLAGS)
flags.DEFINE_bool("test", False, "also evaluate the best on test", flag_values=FLAGS)
flags.DEFINE_string("out", "", "JSON file for the best settings and numbers", flag_values=FLAGS)

SHOWN = ("ndcg@100", "recall_min@20", "recall_min@50", "recall@100")


def main() -> None:
    """A line for every combination, then the best."""
    model_class = implicit()  # before any work
    import threadpoolctl

    data = dataclasses.replace(presets.preset("ease-ml1m-users").data, fold_in=FLAGS.fold_in)
    data_dir, info = peers.prepared(data, FLAGS.data_dir)
    print(info.protocol, flush=True)
    # implicit has its own threads, with which those of BLAS would interfere.
    with threadpoolctl.threadpool_limits(1, "blas"):
        best, model = search(model_class, data_dir, info)
        print("best\n" + line(best))
        if FLAGS.test:
            best["test"] = measure(model, data_dir, info, "test")
            print("test    " + text(best["test"]))
    if FLAGS.out:
        peers.write_results(FLAGS.out, {"protocol": info.protocol, **best})


def implicit():
    """The package's model, on the CPU; raises ValueError if it is not installed."""
    return peers.package("implicit.cpu.als", "pip install implicit").AlternatingLeastSquares


def combinations() -> list[dict]:
    """All combinations of the settings in the flags."""
    kinds = {"factors": int, "regularization": float, "alpha": float, "iterations": int}
    values = [[kind(v) for v in FLAGS[name].value] for name, kind in kinds.items()]
    return [dict(zip(kinds, chosen, strict=True)) for chosen in itertools.product(*values)]


def matrix(items, n_items: int):
    """Padded rows `[batch, length]` as a scipy CSR matrix of ones `[batch, n_items]`."""
    import numpy as np

    from tfrec.data import sparse

    return sparse.matrix(items, np.ones(items.shape), n_items)


def search(model_class, data_dir: str, info) -> tuple[dict, object]:
    """Fits every combination; returns the best one's numbers and model.

    Args:
        model_class: From `implicit`.
        data_dir: Prepared data.
        info: Its info.
    """
    import scipy.sparse

    from tfrec.data import inputs

    rows = inputs.histories(data_dir, info, "train", 512, fill=True)
    parts = [matrix(features["items"].numpy(), info.n_items) for features, _ in rows]
    train = scipy.sparse.vstack(parts, format="csr")
    best, best_model = None, None
    for settings in combinations():
        model = model_class(**settings, num_threads=FLAGS.threads, random_state=FLAGS.seed)
        _, cost = peers.timed(model.fit, train, show_progress=False)
        found = {"settings": settings, **cost}
        found["validation"] = measure(model, data_dir, info, "validation")
        print(line(found), flush=True)
        if best is None or found["validation"]["ndcg@100"] > best["validation"]["ndcg@100"]:
            best, best_model = found, model
    return best, best_model


def measure(model, data_dir: str, info, split: str) -> dict[str, float]:
    """The report's metrics on `split`, with every user folded in from the input."""
    import numpy as np

    from tfrec import metrics, ranking
    from tfrec.data import inputs

    report = metrics.RankingReport(info)
    for features, targets in inputs.histories(data_dir, info, split, 512):
        items = features["items"].numpy()
        users = model.recalculate_user(np.arange(len(items)), matrix(items, info.n_items))
        scores = users @ model.item_factors.T
        report.update(features, targets, ranking.top_k(scores, items, report.depth)[1])
    result = report.result()
    return {name: result[name] for name in SHOWN}


def line(found: dict) -> str:
    """One combination's settings and numbers."""
    settings = "  ".join(f"{name} {value:g}" for name, value in found["settings"].items())
    seconds = f"{found['seconds']:.1f} s ({found['cpu_seconds']:.1f} CPU s)"
    return f"{settings}  validation {text(found['validation'])}  {seconds}"


def text(measured: dict[str, float]) -> str:
    """The metrics, four digits each."""
    return "  ".join(f"{name} {value:.4f}" for name, value in measured.items())


if __name__ == "__main__":
    cli.run(main, FLAGS, "Measures implicit's iALS.", "python benchmarks/ials.py --fold_in=random")
