"""EASE's fit against the bare LAPACK inverse of the same size, in turns in one process.

    python benchmarks/ease.py --data_dir=DIR [--repeats=5]

DIR is prepared by `python -m tfrec.prepare`, for instance with the settings of the preset
ease-ml1m-users. Prints medians and the ratio fit / inverse of each pair.
"""

import statistics
import time

import numpy as np
import scipy.linalg
from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", "", "prepared data", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "pairs of runs", flag_values=FLAGS)


def timed(function) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Prints the two times and their ratio."""
    from tfrec.data import inputs
    from tfrec.models.ease import EASE
    from tfrec.schema import DatasetInfo

    data_dir = cli.require(FLAGS, "data_dir")
    info = DatasetInfo.load(data_dir)
    model = EASE.create(info)
    x = np.random.default_rng(0).random((2 * info.n_items, info.n_items), np.float32)
    gram = x.T.astype(np.float64) @ x

    def fit() -> None:
        model.fit(inputs.histories(data_dir, info, "train", EASE.defaults.batch_size, fill=True))

    fit()  # traces the graph
    fits, choleskys, inverses = [], [], []
    for _ in range(FLAGS.repeats):
        fits.append(timed(fit))
        choleskys.append(timed(lambda: cholesky_inverse(gram)))
        inverses.append(timed(lambda: scipy.linalg.inv(gram)))
    print(f"{info.name}: {info.n_items:,} items, {info.n_ratings['train']:,} ratings")
    print(f"EASE.fit, from TFRecords to weights  {statistics.median(fits):.2f} s")
    for what, times in (("inv (dgetrf, dgetri)", inverses), ("dpotrf, dpotri", choleskys)):
        ratios = [a / b for a, b in zip(fits, times, strict=True)]
        print(
            f"bare {what:31} {statistics.median(times):.2f} s   "
            f"fit / inverse {statistics.median(ratios):.2f}"
        )


def cholesky_inverse(gram: np.ndarray) -> None:
    """The inverse of a positive definite matrix (its lower half)."""
    factor, _ = scipy.linalg.lapack.dpotrf(gram, lower=1)
    scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)


if __name__ == "__main__":
    cli.run(
        main, FLAGS, "Times EASE's fit.", "python benchmarks/ease.py --data_dir=data/ml1m-users"
    )
