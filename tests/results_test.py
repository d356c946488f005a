"""Records in `results/`, the tables generated from them, and the presets' figures."""

import hashlib
import importlib.util
import json
import pathlib
import sys

import pytest
from benchmarks_test import load
from commands_test import cache, run  # noqa: F401  (a fixture)

from tfrec import presets

ROOT = pathlib.Path(__file__).parents[1]
RECORDS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "results").glob("*.json")}
TABLES, DEFAULTS = RECORDS.pop("tables"), RECORDS.pop("defaults")
KNOWN = presets.PRESETS | presets.ENSEMBLES
OF_RUNS = {"config", "config_hash", "data", "protocol", "seeds", "versions", "machine", "intervals"}


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("result_tables", None)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_whole_or_says_that_figures_alone_were_kept(name):
    record = RECORDS[name]
    assert record["name"] == name
    assert set(record["metrics"]) <= {"validation", "test", "floors"}
    if record["kept"] == "run":
        assert set(record) >= OF_RUNS | {"commit", "seconds", "cpu_seconds", "peak_memory_mb"}
        text = json.dumps(record["config"], sort_keys=True)
        assert hashlib.sha256(text.encode()).hexdigest().startswith(record["config_hash"])
        for part, found in record["intervals"].items():
            assert all(
                low <= record["metrics"][part][x] <= high for x, (low, high) in found.items()
            )
    else:
        assert record["kept"] == "figures only" and not OF_RUNS & set(record)


def test_every_record_is_in_a_table():
    shown = {name for table in TABLES.values() for name in table.get("records", ())}
    assert shown == set(RECORDS)


@pytest.mark.parametrize("name", [name for name, p in KNOWN.items() if p.measured])
def test_figures_of_a_preset_are_those_of_its_record(name):
    found = RECORDS[name]["metrics"]
    for part, figures in KNOWN[name].measured.items():
        known = {x: found[part].get(x) for x in figures}
        assert known == pytest.approx(figures, abs=5e-5), part


@pytest.mark.parametrize(
    ("page", "name"), [("docs/results.md", "ease-ml1m-users"), ("README.md",) * 2]
)
def test_a_changed_digit_makes_the_pages_stale(generate, monkeypatch, page, name):
    import result_tables

    text = (ROOT / page).read_text()
    assert generate.rewritten(text) == text
    changed = json.loads(json.dumps(RECORDS["ease-ml1m-users"]))
    changed["metrics"]["test"]["ndcg@100"] += 0.0001
    known = result_tables.record
    monkeypatch.setattr(
        result_tables, "record", lambda x: changed if x == "ease-ml1m-users" else known(x)
    )
    assert generate.rewritten(text) != text


def test_cells_are_filled_from_records(generate):
    import result_tables

    of = {
        "metrics": {"test": {"rmse": 0.81234, "mae": 1.5}},
        "deviation": {"test": {"mae": 0.01}},
        "marks": {"test.rmse": "[a]"},
        "cpu_seconds": 1234.4,
        "peak_memory_mb": 900,
    }
    fill = result_tables.filled
    assert fill("{test.rmse} ({test.mae})", of) == ".8123 [a] (1.5000 +- .0100)"
    assert fill("{test.hr@10} ({test.mae@5})", of) == ""
    assert fill("{cost}", of) == "1,234 CPU s, 900 MB"
    assert fill("EASE {ease-ml1m-users:test.ndcg@100}") == "EASE .4283"


def test_the_log_of_readings_is_one_json_a_line():
    lines = (ROOT / "results/readings.jsonl").read_text().splitlines()
    assert len(lines) > 60
    for line in lines:
        assert {"test_set", "model", "value", "why"} <= set(json.loads(line))


# ------------------------------------------------------------------ benchmarks.reproduce


@pytest.fixture(scope="module")
def reproduce():
    return load("reproduce")


def test_a_preset_that_ships_reaches_its_figures(reproduce, capsys, tmp_path):
    """One of `--fast` that takes a few seconds."""

    def train(name, path):
        done = run(capsys, "train", f"--preset={name}", f"--run_dir={path}")
        assert done.status == 0, done.err

    name = "biases-latestsmall-random90"
    assert name in reproduce.chosen(fast=True, every=False, names=[])
    outcomes = reproduce.reproduce([name], tmp_path, train)
    assert [str(x) for x in outcomes if not x.within] == [] and len(outcomes) >= 2


@pytest.mark.parametrize(("found", "status"), [(0.8703, 0), (0.8692, 1)])
def test_figures_outside_the_tolerance_end_with_status_1(
    reproduce, capsys, tmp_path, monkeypatch, found, status
):
    name = "biases-latestsmall-random90"
    (tmp_path / name).mkdir()
    figures = {"test": {"rmse": found}, "validation": {"rmse": 0.8692}}
    (tmp_path / name / "metrics.json").write_text(json.dumps(figures))
    reproduce.FLAGS(["reproduce", f"--out={tmp_path}", f"--presets={name}"])
    try:
        if status:
            with pytest.raises(SystemExit, match="1"):
                reproduce.main()
        else:
            reproduce.main()
    finally:
        reproduce.FLAGS.unparse_flags()
    out = capsys.readouterr().out
    assert out.count("as expected") == 2 - status and out.count("OUTSIDE") == status


def test_what_to_reproduce_must_have_figures(reproduce):
    for names, due in (
        (["ease-ml1m-user"], "did you mean|known"),
        (["ease-santander-month"], "no measured figures"),
        (["multvae-ml20m-users"], "no measured figures"),
        ([], "give one of"),
    ):
        with pytest.raises(ValueError, match=due):
            reproduce.chosen(False, False, names)
    every = reproduce.chosen(False, True, [])
    assert set(reproduce.chosen(True, False, [])) < set(every) and "best-ml100k-u1" in every
