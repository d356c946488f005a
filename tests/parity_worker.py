"""One of two workers that train runs like `contract_test` does: `parity_worker.py RUN_DIR...`."""

import sys

import keras
import numpy as np
import tensorflow as tf

from tfrec.training import strategies

strategy = strategies.make("multiworker")

from contract_test import trainer_fit, unshuffled  # noqa: E402

from tfrec.training.experiment import Experiment  # noqa: E402
from tfrec.training.runs import RunDir  # noqa: E402


def main(paths: list[str]) -> None:
    keras.random.normal = lambda shape, dtype, seed: tf.zeros(shape, dtype)
    keras.random.uniform = lambda shape, dtype, seed: tf.zeros(shape, dtype)
    for path in paths:
        run_dir = RunDir(path)
        trial = Experiment(run_dir.config(), run_dir, strategy)
        rows = unshuffled(trial, 20)
        trainer_fit(trial, lambda epoch, rows=rows: rows)
        if strategies.is_chief(strategy):
            np.savez(run_dir.path / "weights.npz", *trial.model.get_weights())


if __name__ == "__main__":
    main(sys.argv[1:])
