"""Beam: the same bytes as without it, several workers, no runner that downloads."""

import pathlib

import pytest
from pipeline_data_test import contents, pack, ratings

from pipelines import artifacts, beam, beam_options, engine, example_gen, statistics_gen, transform
from tfrec.config import DataConfig
from tfrec.data import blocks, prepare


@pytest.fixture(scope="module")
def raws(tmp_path_factory):
    """Two spans."""
    folder = tmp_path_factory.mktemp("raw")
    pack(folder / "day-1.zip", ratings())
    pack(folder / "day-2.zip", ratings(seed=1, first=1001))
    return str(folder / "day-{SPAN}.zip")


def data_components(raws, root, worker, config):
    """Runs what Beam may run; returns all bytes by path."""
    examples = example_gen.run(example_gen.sources("ml-latest-small", raws, None), root, worker)
    made = [*examples.values()]
    made += [statistics_gen.of_span(x, worker, root=root) for x in examples.values()]
    rows = transform.run(examples, config, worker, root=root)
    made += [rows, statistics_gen.of_rows(rows, worker, root=root)]
    return {str(a.path.relative_to(root)): contents(a.path) for a in made}


@pytest.mark.parametrize("config", [DataConfig(), DataConfig(split="time", rows="item")])
def test_beam_writes_the_bytes_of_the_plain_path(raws, tmp_path, monkeypatch, config):
    monkeypatch.setattr(blocks, "_RATINGS", 150)  # several blocks
    plain = data_components(raws, tmp_path / "a", engine.Local(), config)
    worker = engine.make("FnApiRunner", [], tmp_path / "work")
    assert data_components(raws, tmp_path / "b", worker, config) == plain
    assert not list((tmp_path / "work").iterdir())


def test_two_worker_processes_write_the_same_bytes(raws, tmp_path, monkeypatch):
    root = pathlib.Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'tests'}")  # for the workers
    options = ["direct_num_workers=2", "direct_running_mode=multi_processing"]
    worker = beam.Beam("FnApiRunner", options, tmp_path / "work")
    raw = prepare_raw(raws, tmp_path)
    prepare.prepare(raw, DataConfig(), tmp_path / "plain", progress=False)
    monkeypatch.setattr(blocks, "_RATINGS", 150)
    sent = []

    def run(function, tasks):
        """Only the longer step: each start of two workers imports TensorFlow twice."""
        sent.append(len(tasks))
        return (worker.map if function is blocks.encode else blocks.in_process)(function, tasks)

    prepare.prepare(raw, DataConfig(), tmp_path / "two", progress=False, run=run)
    assert sent[0] > 1
    assert contents(tmp_path / "plain") == contents(tmp_path / "two")


def prepare_raw(raws, folder):
    from pipelines import spans

    sources = example_gen.sources("ml-latest-small", raws, None)
    made = example_gen.run(sources, folder / "root", engine.Local())
    return spans.as_raw([spans.Span.load(made[1].path)])


def double(number):
    return 2 * number


def add(a, b):
    return a + b


def test_results_come_back_in_order_and_by_key(tmp_path):
    worker = engine.make("FnApiRunner", [], tmp_path)
    assert worker.map(double, [5, 3, 4]) == [10, 6, 8]
    assert worker.map(double, []) == []
    tasks = [("a", 1), ("b", 2), ("a", 3)]
    assert worker.combine(double, add, tasks) == {"a": 8, "b": 4}
    assert engine.Local().combine(double, add, tasks) == {"a": 8, "b": 4}


@pytest.mark.parametrize("runner", ["DirectRunner", "SwitchingDirectRunner"])
def test_a_runner_that_may_download_is_refused(tmp_path, runner):
    with pytest.raises(ValueError, match="may try to download .* --runner=FnApiRunner"):
        engine.make(runner, [], tmp_path)


def test_options_reach_beam_and_mistyped_ones_are_named(tmp_path):
    options = beam_options.make("FlinkRunner", ["flink_master=host:8081", "streaming=true"])
    found = options.get_all_options()
    assert (found["runner"], found["flink_master"]) == ("FlinkRunner", "host:8081")
    assert found["streaming"] is True
    with pytest.raises(ValueError, match="did you mean 'direct_num_workers'"):
        beam_options.make("FnApiRunner", ["direct_num_worker=2"])
    with pytest.raises(ValueError, match="not of the form name=value"):
        beam_options.make("FnApiRunner", ["streaming"])
    with pytest.raises(ValueError, match="needs a runner of Beam"):
        engine.make("local", ["streaming=true"], tmp_path)


def test_artifacts_of_both_are_one(raws, tmp_path):
    """The engine is no part of a fingerprint: a run may be continued by another one."""
    sources = example_gen.sources("ml-latest-small", raws, None)
    worker = engine.make("FnApiRunner", [], tmp_path / "work")
    first = example_gen.run(sources, tmp_path / "root", worker)
    assert example_gen.run(sources, tmp_path / "root", engine.Local()) == first
    assert isinstance(first[2], artifacts.Artifact)
