"""One of two workers that train runs like `contract_test` does: `parity_worker.py RUN_DIR...`."""

import sys

import numpy as np
import pytest

from tfrec.training import strategies

strategy = strategies.make("multiworker")

from contract_test import trained_in_order, without_noise  # noqa: E402

from tfrec.training.experiment import Experiment  # noqa: E402
from tfrec.training.runs import RunDir  # noqa: E402


def main(paths: list[str]) -> None:
    without_noise(pytest.MonkeyPatch())
    for path in paths:
        run_dir = RunDir(path)
        weights = trained_in_order(Experiment(run_dir.config(), run_dir, strategy))
        if strategies.is_chief(strategy):
            np.savez(run_dir.path / "weights.npz", *weights)


if __name__ == "__main__":
    main(sys.argv[1:])
