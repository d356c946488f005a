"""Beam: the same bytes as without it, several workers, no runner that downloads."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from beam_tasks import add, double, write
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


TWO_PROCESSES = ["direct_num_workers=2", "direct_running_mode=multi_processing"]


@pytest.fixture
def for_workers(monkeypatch):
    """Worker processes import what this one does."""
    root = pathlib.Path(__file__).parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'tests'}")


@pytest.mark.parametrize("config", [DataConfig(), DataConfig(split="time", rows="item")])
def test_beam_writes_the_bytes_of_the_plain_path(raws, tmp_path, monkeypatch, config):
    monkeypatch.setattr(blocks, "_RATINGS", 150)  # several blocks
    plain = data_components(raws, tmp_path / "a", engine.Local(), config)
    worker = engine.make("FnApiRunner", [], tmp_path / "work")
    assert data_components(raws, tmp_path / "b", worker, config) == plain
    assert not list((tmp_path / "work").iterdir())


def test_two_worker_processes_write_the_same_bytes(raws, tmp_path, monkeypatch, for_workers):
    worker = beam.Beam("FnApiRunner", TWO_PROCESSES, tmp_path / "work")
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


@pytest.fixture
def alarm():
    """Fails instead of waiting forever."""

    def stop(*_):
        raise TimeoutError("not ended within 45 s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(45)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_killed_worker_process_ends_the_run_and_the_next_one_is_whole(
    tmp_path, for_workers, alarm
):
    fuse, root = tmp_path / "fuse", tmp_path / "root"

    def run(worker, root):
        def build(directory):
            worker.map(write, [(str(directory / f"{n}"), str(fuse)) for n in range(4)])

        return artifacts.make(None, "writer", {}, {}, build, root=root)

    worker = engine.make("FnApiRunner", TWO_PROCESSES, root)
    fuse.touch()
    with pytest.raises(
        ChildProcessError, match=r"\(pid \d+\) was killed by SIGKILL .* Run the same command again"
    ):  # while another one would be at work for a minute
        run(worker, root)
    assert not [p for p in root.rglob("*") if p.name.startswith(".beam-")]
    fuse.unlink()
    made = run(worker, root)
    assert sorted(p.name for p in (root / "writer").iterdir()) == [made.path.name]
    assert contents(made.path) == contents(run(engine.Local(), tmp_path / "calm").path)


def prepare_raw(raws, folder):
    from pipelines import spans

    sources = example_gen.sources("ml-latest-small", raws, None)
    made = example_gen.run(sources, folder / "root", engine.Local())
    return spans.as_raw([spans.Span.load(made[1].path)])


PAIRS = [("a", 1), ("b", 2), ("a", 3)]


def check(worker):
    """Results come back in order and by key."""
    assert worker.map(double, [5, 3, 4]) == [10, 6, 8]
    assert worker.map(double, []) == []
    assert worker.combine(double, add, PAIRS) == {"a": 8, "b": 4}


def test_results_come_back_in_order_and_by_key(tmp_path):
    check(engine.make("FnApiRunner", [], tmp_path))
    check(engine.Local())


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


def test_workers_that_see_another_file_system_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(beam._Keep, "__call__", lambda self, key, task: None)
    with pytest.raises(FileNotFoundError, match=r"all workers must have the pipeline's root"):
        engine.make("FnApiRunner", [], tmp_path).map(double, [1])


OWN_RUNNER = """
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

class OwnOptions(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument("--own_client_address", dest="own")

class OwnRunner(FnApiRunner):
    def run_pipeline(self, pipeline, options):
        assert options.view_as(OwnOptions).own == "host:1"
        return super().run_pipeline(pipeline, options)
"""


def test_a_runner_may_bring_its_own_options(tmp_path, monkeypatch):
    (tmp_path / "own_module.py").write_text(OWN_RUNNER)
    monkeypatch.syspath_prepend(tmp_path)
    check(engine.make("own_module.OwnRunner", ["own_client_address=host:1"], tmp_path))
    with pytest.raises(ValueError, match="did you mean 'own_client_address'"):
        engine.make("own_module.OwnRunner", ["own_client_adress=host:1"], tmp_path)


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        ("FlinkRuner", "is not a runner; did you mean 'FlinkRunner'"),
        (
            "not_there.SomeRunner",
            "cannot be loaded .*not_there.*: install the package that has the module",
        ),
        ("DaskRunner", r"cannot be loaded .*: pip install 'tfrec\[dask\]'"),
        ("direct", "may try to download"),
    ],
)
def test_a_runner_that_is_not_there_is_named(tmp_path, monkeypatch, runner, words):
    monkeypatch.delitem(sys.modules, "apache_beam.runners.dask.dask_runner", raising=False)
    for name in ("dask", "dask.distributed"):
        monkeypatch.setitem(sys.modules, name, None)  # not installed
    with pytest.raises(ValueError, match=words):
        engine.make(runner, [], tmp_path)


def test_without_beam_there_is_the_local_engine(tmp_path, monkeypatch):
    monkeypatch.delattr("pipelines.beam")
    monkeypatch.delitem(sys.modules, "pipelines.beam")
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        ValueError, match=r"pip install 'tfrec\[pipelines\]', or give --runner=local"
    ):
        engine.make("FnApiRunner", [], tmp_path)
    check(engine.make("local", [], tmp_path))


def test_the_short_name_of_dask_brings_its_options(tmp_path):
    pytest.importorskip("dask.distributed")
    worker = engine.make("DaskRunner", ["dask_client_address=tcp://127.0.0.1:9"], tmp_path)
    found = worker.options.get_all_options(drop_default=True)
    assert (found["address"], found["partition_size"]) == ("tcp://127.0.0.1:9", 1)
    found = beam_options.make("DaskRunner", ["dask_npartitions=8"]).get_all_options()
    assert (found["npartitions"], found["partition_size"]) == (8, None)
    with pytest.raises(ValueError, match="did you mean 'dask_client_address'"):
        engine.make("DaskRunner", ["dask_client_adress=tcp://127.0.0.1:9"], tmp_path)


@pytest.fixture
def dask_cluster(tmp_path, for_workers):
    """A scheduler's address, itself and two worker processes, started as in docs/scale.md."""
    pytest.importorskip("dask.distributed")
    dask, file = (sys.executable, "-m", "dask"), tmp_path / "scheduler.json"
    local = ("--host", "127.0.0.1", "--no-dashboard")
    log = (tmp_path / "dask.txt").open("w")
    words = [*dask, "scheduler", "--port", "0", "--scheduler-file", str(file), *local]
    started = [subprocess.Popen(words, stderr=log)]
    try:
        for _ in range(300):
            if file.exists():
                break
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        one = ("--nworkers", "1", "--nthreads", "1", "--no-nanny", *local)
        words = [*dask, "worker", address, *one, "--local-directory", str(tmp_path)]
        started += [subprocess.Popen(words, stderr=log) for _ in range(2)]
        yield address, *started
    finally:
        for process in started:
            process.kill()
            process.wait()
        log.close()


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same_bytes(raws, tmp_path, monkeypatch, dask_cluster):
    monkeypatch.setattr(blocks, "_RATINGS", 150)  # several blocks
    plain = data_components(raws, tmp_path / "a", engine.Local(), DataConfig())
    worker = engine.make("DaskRunner", [f"dask_client_address={dask_cluster[0]}"], tmp_path / "w")
    assert data_components(raws, tmp_path / "b", worker, DataConfig()) == plain
    assert not list((tmp_path / "w").iterdir())


@pytest.mark.slow
def test_a_killed_dask_worker_changes_no_byte_of_the_partitions(
    raws, tmp_path, monkeypatch, dask_cluster
):
    address, _, *workers = dask_cluster
    worker = engine.make("DaskRunner", [f"dask_client_address={address}"], tmp_path / "w")
    data = DataConfig(split="users", test=0.3, min_item_ratings=3, min_user_ratings=3, core=True)
    examples = example_gen.run(
        example_gen.sources("ml-latest-small", raws, None), tmp_path / "root", engine.Local()
    )
    plain = transform.run(examples, data, engine.Local(), tmp_path / "plain", None, 1)
    combine = worker.combine

    def killing(function, merge, tasks):
        if function.__name__ == "known_items":
            threading.Timer(0.3, workers[0].kill).start()
        return combine(function, merge, tasks)

    monkeypatch.setattr(worker, "combine", killing)
    again = transform.run(examples, data, worker, tmp_path / "again", None, 5)
    assert workers[0].wait() == -signal.SIGKILL
    assert contents(again.path) == contents(plain.path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["partitions/clean", "partitions/split", "blocks/*-of-*.npy"])
def test_without_its_dask_scheduler_a_run_ends_and_the_next_one_is_whole(
    raws, tmp_path, dask_cluster, stage
):
    address, scheduler, *_ = dask_cluster
    sources = example_gen.sources("ml-latest-small", raws, None)
    examples = example_gen.run(sources, tmp_path / "root", engine.Local())
    plain = transform.run(
        examples, DataConfig(split="last"), engine.Local(), tmp_path / "a", None, 1
    )
    words = [sys.executable, "-m", "pipelines.transform", "--split=last", "--partitions=5"]
    words += [f"--examples={examples[n].path}" for n in (1, 2)]
    words += ["--data=dataset=ml-latest-small", f"--output={tmp_path / 'rows'}"]
    on_dask = ["--runner=DaskRunner", "--beam", f"dask_client_address={address}"]
    run = subprocess.Popen([*words, *on_dask], stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(f".partial-rows-*/{stage}")):
        assert run.poll() is None
        time.sleep(0.01)
    scheduler.kill()
    errors = run.communicate(timeout=100)[1]
    assert run.returncode == 1
    assert re.search(
        "^error: (the Dask scheduler was lost|Timed out trying to connect)", errors, re.M
    )
    assert not (tmp_path / "rows").exists()
    subprocess.run(words, check=True, capture_output=True)
    assert contents(tmp_path / "rows") == contents(plain)


def test_artifacts_of_both_are_one(raws, tmp_path):
    """The engine is no part of a fingerprint: a run may be continued by another one."""
    sources = example_gen.sources("ml-latest-small", raws, None)
    worker = engine.make("FnApiRunner", [], tmp_path / "work")
    first = example_gen.run(sources, tmp_path / "root", worker)
    assert example_gen.run(sources, tmp_path / "root", engine.Local()) == first
    assert isinstance(first[2], artifacts.Artifact)
