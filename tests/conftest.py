"""Shared data and the one strategy of the test process."""

import gc
import itertools
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow.python.util import tf_stack

from tfrec.config import DataConfig
from tfrec.data.prepare import prepare
from tfrec.datasets.raw_dataset import RawDataset
from tfrec.training import strategies

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
strategies.split_cpu(2)  # before TensorFlow starts up; one device is still the default
# Graphs of tests run a few times only: optimizing them costs more than it saves.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
# So does noting for each of their operations where in Python it was made.
STACK = tf_stack.extract_stack()
tf_stack.extract_stack = lambda stacklevel=1: STACK
gc.freeze()  # half a million objects of TensorFlow that no collection need visit
SIZE = 40


@pytest.fixture(scope="session", autouse=True)
def _folder_of_no_run(tmp_path_factory):
    """Tests do not see the checkout that they are started in, nor the user's log of readings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cwd"))
        patch.setenv("TFREC_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def one():
    """The default strategy."""
    return tf.distribute.get_strategy()


@pytest.fixture(scope="session")
def mirrored():
    """Two replicas; there must never be a second one in a process."""
    return strategies.make("mirrored", 2)


def checkerboard(likes_only: bool):
    """A raw data set whose right answer is known.

    User u rates item i 5 where u + i is even, else 1. (u, u) and, where disliked items are
    rated too, (u, u + 1) are held out.
    """
    u, i = (x.ravel() for x in np.meshgrid(*[np.arange(SIZE)] * 2, indexing="ij"))
    frame = pd.DataFrame(
        {
            "user": [f"u{x}" for x in u],
            "item": [f"i{x}" for x in i],
            "value": np.where((u + i) % 2 == 0, 5, 1).astype(np.float32),
            # No order to learn but who likes what.
            "time": np.random.default_rng(0).permutation(SIZE**2).astype(np.int64),
            "test": (u == i) | (i == (u + 1) % SIZE),
        }
    )
    if likes_only:
        frame = frame[frame.value > 1].reset_index(drop=True)
    ids = [f"i{x}" for x in range(SIZE)]
    return RawDataset(
        name="checkerboard",
        chunks=lambda: iter([frame]),
        items=pd.DataFrame(
            {"item": ids, "title": [f"Film {x}, The" for x in ids], "genres": "Drama|War"}
        ),
        fingerprint="checkerboard",
        rating_min=1.0,
        rating_max=5.0,
        rating_step=1.0,
        has_times=True,
        kinds={"title": "text", "genres": "set"},
    )


@pytest.fixture(scope="session")
def board(tmp_path_factory):
    """`board(rows, likes_only)` -> (data_dir, DataConfig) of the prepared checkerboard."""
    made = {}

    def make(rows: str = "user", likes_only: bool = False):
        if (rows, likes_only) not in made:
            data_dir = tmp_path_factory.mktemp("board") / "data"
            data = DataConfig(
                dataset="checkerboard", split="folds", rows=rows, shards=2, validation=0.1
            )
            prepare(checkerboard(likes_only), data, data_dir, progress=False)
            made[rows, likes_only] = str(data_dir), data
        return made[rows, likes_only]

    return make


@pytest.fixture(autouse=True)
def _default_precision():
    """No test inherits another one's mixed precision."""
    import keras

    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def run_name(tmp_path):
    """Fresh run directories: `run_name()`."""
    numbers = itertools.count()
    return lambda: tmp_path / f"run{next(numbers)}"


@pytest.fixture
def no_environment(monkeypatch, tmp_path):
    """Only what a test passes is found: no data folder, an empty cache."""
    monkeypatch.delenv("TFREC_DATA", raising=False)
    monkeypatch.setenv("TFREC_CACHE", str(tmp_path / "cache"))
