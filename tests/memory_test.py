"""The memory of a run is estimated before its model is built."""

import dataclasses

import numpy as np
import pytest

from tfrec import memory
from tfrec.config import TrainConfig
from tfrec.data import inputs
from tfrec.models.ease import EASE
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.training import memory_check
from tfrec.training.experiment import Experiment
from tfrec.training.runs import RunConfig, RunDir

COUNTS = {"n_ratings": {"train": 20_000}, "row_counts": {"train": 400}, "max_history": 200}
GOWALLA = DatasetInfo(
    "x", "x", "user", 29_858, 40_981, {"train": 810_128}, row_counts={"train": 29_858}
)


def info_of(cls, **counts):
    rows = cls.rows(cls.Config())
    return DatasetInfo("x", "x", rows, **{"n_users": 400, "n_items": 3000, **COUNTS, **counts})


@pytest.mark.parametrize("name", ["deeprec", "multvae", "mf", "autorec", "ials", "als", "biases"])
def test_weights_are_about_as_many_as_the_model_makes(name):
    """The estimate without activations and optimizer, against the built model's own count."""
    cls, train = MODELS[name], TrainConfig(optimizer="sgd")
    info = info_of(cls)
    steps = 4 * cls.activations(info, cls.Config(), train)
    copies = 2 if cls.closed_form else 3
    estimate = (cls.memory(info, cls.Config(), train) - steps) / copies
    made = 4 * cls.create(info).count_params()
    assert 0.5 * made < estimate < 4 * made


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_a_number_that_grows_with_the_data(name):
    cls = MODELS[name]
    small, large = (
        cls.memory(info_of(cls, n_users=n, n_items=n), cls.Config(), cls.paper)
        for n in (3000, 300_000)
    )
    assert 0 < small < 1e10
    assert 3 * small < large


def test_ease_takes_the_square_of_the_items_and_ials_a_part_of_it():
    """41,000 items: B alone is 6.7 GB, and its solution needs five times as much."""
    ease, ials = (
        MODELS[name].memory(GOWALLA, MODELS[name].Config(), TrainConfig())
        for name in ("ease", "ials")
    )
    assert 30e9 < ease < 40e9
    assert ials < 1e9


def test_what_does_not_fit_is_refused_before_the_model_is_built(board, one, run_name, monkeypatch):
    data_dir, data = board("user", True)
    config = RunConfig("ease", {}, data, data_dir, EASE.paper)
    run_dir = RunDir(run_name())
    run_dir.start(config)
    monkeypatch.setattr(memory, "available", lambda: 5e3)
    monkeypatch.setattr(EASE, "create", lambda *args: pytest.fail("it was built"))
    with pytest.raises(ValueError, match=r"--model=ease takes about .* GB.*--model=ials takes"):
        Experiment(config, run_dir, one)


@pytest.mark.parametrize(("left", "lines"), [(100e9, 1), (34e9, 1)])
def test_much_is_said_in_one_line_and_little_is_not(left, lines, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: left)
    said = []
    memory_check.check("ease", GOWALLA, EASE.Config(), EASE.paper, said.append)
    memory_check.check("ials", GOWALLA, MODELS["ials"].Config(), TrainConfig(), said.append)
    assert len(said) == lines
    assert (
        f"33.6 GB on these 40,981 items and 29,858 users; {left / 1e9:.1f} GB are left" in said[0]
    )


def test_available_is_the_least_of_machine_and_control_group(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    assert memory.available() == float("inf")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 2000 kB\n")
    assert memory.available() == 2000 * 1024
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("7\n")
    assert memory.available() == 2000 * 1024
    (group / "memory.max").write_text("1000007\n")
    assert memory.available() == 1e6


def test_wide_rows_are_evaluated_few_at_once():
    info = dataclasses.replace(GOWALLA, n_items=100_000)
    assert inputs.rows_to_score(info, 512) * 100_000 <= 1 << 23
    assert inputs.rows_to_score(dataclasses.replace(info, n_items=10**9), 512) == 1
    assert inputs.rows_to_score(dataclasses.replace(info, n_items=3706), 512) == 512


def test_evaluation_reads_as_many_rows_as_its_scores_may_be(board, one, run_name, monkeypatch):
    data_dir, data = board("user", True)
    config = RunConfig("popularity", {}, data, data_dir, TrainConfig())
    run_dir = RunDir(run_name())
    run_dir.start(config)
    trial = Experiment(config, run_dir, one)
    whole = trial.measure("test")[0]
    monkeypatch.setattr(inputs, "_SCORES", 3 * trial.info.n_columns)
    sizes = [len(features["user"]) for features, _ in trial.batches("test")]
    assert set(sizes) == {3}
    np.testing.assert_equal(trial.measure("test")[0], whole)


def test_the_peak_counts_from_when_it_was_forgotten():
    block = np.ones(1 << 25)  # 256 MB
    with_block = memory.peak()
    del block
    memory.forget_peak()
    assert memory.peak() < with_block - (1 << 27)
