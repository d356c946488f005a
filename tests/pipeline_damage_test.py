"""Damaged files of earlier steps: one error that names the file and the cure, no traceback."""

import json
import re
import shutil

import pytest
from pipeline_data_test import make

from pipelines import (
    artifacts,
    engine,
    evaluator,
    example_validator,
    pusher,
    schema_gen,
    spans,
    statistics,
    statistics_gen,
    transform,
)
from tfrec.config import DataConfig

JUNK = bytes([0x89, 0x00, 0xFF, 0xFE, 0x1F, 0x8B, 0x7B, 0x0A]) * 40
BLESSING = {"blessed": True, "reasons": [], "metric": "rmse", "result": {}, "slices": {}}
BLESSING |= {"served": None, "protocol": "p"}
PUSHED = {"run": "/nowhere", "fingerprint": "x", "k": 20}


def read_all(folder):
    """What reads the events of a span: transform and the counting of statistics."""
    span = spans.Span.load(folder / "span")
    list(span.chunks())


def count(folder):
    statistics._span.cache_clear()
    statistics._hashes.cache_clear()
    for file in spans.Span.load(folder / "span").files:
        statistics.of_chunk(str(file))


LOADERS = {
    "span/artifact.json": lambda f: artifacts.Artifact.load(f / "span"),
    "span/span.json": read_all,
    "span/events-00000.parquet": read_all,
    "span/user_ids.txt": read_all,
    "span/item_ids.txt": count,
    "span/items.parquet": lambda f: spans.as_raw([spans.Span.load(f / "span")]),
    "statistics/FeatureStats.pb": lambda f: statistics_gen.read(f / "statistics"),
    "statistics/sketches.npz": lambda f: statistics_gen.read(f / "statistics"),
    "rows/train-00000-of-00001.tfrecord": lambda f: statistics_gen._of_file(
        str(f / "rows/train-00000-of-00001.tfrecord")
    ),
    "anomalies/anomalies.pbtxt": lambda f: example_validator.check(
        artifacts.Artifact.load(f / "anomalies")
    ),
    "blessing/blessing.json": lambda f: evaluator.read(f / "blessing"),
    "push/m/1/assets.extra/pushed.json": lambda f: pusher.served(f / "push", "m"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with what the steps write."""
    folder = tmp_path_factory.mktemp("whole")
    examples, counted = make(folder)
    schema_gen.run(folder / "schema.pbtxt", examples, counted)
    valid = example_validator.of_spans(
        {1: examples}, {1: counted}, folder / "schema.pbtxt", folder / "anomalies"
    )
    example_validator.check(valid)
    transform.run({1: examples}, DataConfig(shards=1), engine.Local(), folder / "rows")
    examples.path.rename(folder / "span")
    counted.path.rename(folder / "statistics")
    (folder / "blessing").mkdir()
    (folder / "blessing/blessing.json").write_text(json.dumps(BLESSING))
    extra = folder / "push/m/1/assets.extra"
    extra.mkdir(parents=True)
    (extra / "pushed.json").write_text(json.dumps(PUSHED))
    return folder


DAMAGES = {
    "junk": lambda content: JUNK,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "list": lambda content: b"[1, 2]",
    "unknown key": lambda content: json.dumps(json.loads(content) | {"new": 1}).encode(),
    "other type": lambda content: json.dumps(dict.fromkeys(json.loads(content), 1.5)).encode(),
}


CASES = [
    (name, damage)
    for name in LOADERS
    for damage in DAMAGES
    if name.endswith(".json") or damage in ("junk", "empty", "cut")
    if not (name.endswith(".tfrecord") and damage == "empty")  # as good as no rows
]


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_damaged_file_is_named_with_the_cure(whole, tmp_path, name, damage):
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    path = folder / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError) as caught:
        LOADERS[name](folder)
    text = str(caught.value)
    assert text.startswith(f"{path} is damaged, or of another version of tfrec (")
    assert re.search(r"\): remove \S+", text) and "\n" not in text


def test_whole_files_are_read(whole):
    for name, load in LOADERS.items():
        if "pushed" not in name:
            load(whole)
    with pytest.raises(ValueError, match="the run of the served model .* is missing"):
        pusher.served(whole / "push", "m")


def test_a_damaged_schema_is_named(tmp_path):
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(JUNK)
    with pytest.raises(ValueError, match=rf"--schema={path}: .*remove it to have it inferred"):
        schema_gen.read(path)
