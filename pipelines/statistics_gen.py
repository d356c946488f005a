"""StatisticsGen: streaming statistics of a span, or of the splits of prepared rows.

FeatureStats.pb  tensorflow_metadata's DatasetFeatureStatisticsList, one data set a split
index.html       the same for people
sketches.npz     of each split, a sample of its events' hashes: what spans have in common
"""

import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from tensorflow_metadata.proto.v0 import statistics_pb2

from tfrec import cli

from . import artifacts, engine, example_gen
from .engine import Engine

if TYPE_CHECKING:
    from . import spans, statistics

COMPONENT = "statistics_gen"
STATISTICS = "FeatureStats.pb"
_SKETCHES = "sketches.npz"
_BATCH = 1024  # rows parsed at once

FLAGS = flags.FlagValues()
flags.DEFINE_string("examples", "", "a span, as made by example_gen", flag_values=FLAGS)
flags.DEFINE_string("output", "", "the directory to make", flag_values=FLAGS)
flags.DEFINE_string("runner", "local", "local, or a runner of Beam", flag_values=FLAGS)
flags.DEFINE_multi_string("beam", [], "name=value of Beam's options", flag_values=FLAGS)


def of_span(
    examples: artifacts.Artifact,
    engine: Engine,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
) -> artifacts.Artifact:
    """Statistics of a span; empty ones of a span that could not be read."""

    def build(directory: pathlib.Path) -> None:
        from . import spans, statistics

        span = spans.Span.load(examples.path)
        tasks = [("span", str(file)) for file in span.files]
        found = engine.combine(statistics.of_chunk, statistics.merge_splits, tasks)
        splits = found.get("span", {})
        texts = {name: span.texts(name) for name in span.coded}
        table = span.table("item")
        titles = dict(zip(table["item"], table["title"], strict=True)) if "title" in table else {}
        _write(directory, span.about["name"], splits, texts, _in_table(span, splits), titles)

    return artifacts.make(path, COMPONENT, {}, {"examples": examples}, build, root=root)


def of_rows(
    prepared: artifacts.Artifact,
    engine: Engine,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
) -> artifacts.Artifact:
    """Statistics of the splits of prepared rows, as `transform` made them."""

    def build(directory: pathlib.Path) -> None:
        from tfrec.data import vocabulary
        from tfrec.schema import ITEMS_FILE, USERS_FILE, DatasetInfo

        from . import statistics

        info = DatasetInfo.load(prepared.path)
        files = sorted(prepared.path.glob("*.tfrecord"))
        found = engine.combine(_of_file, statistics.merge_splits, [("rows", str(f)) for f in files])
        texts = {
            name: vocabulary.read(prepared.path / file)
            for name, file in (("user", USERS_FILE), ("item", ITEMS_FILE))
        }
        titles = dict(zip(texts["item"], vocabulary.titles(prepared.path), strict=True))
        titles = titles if any(titles.values()) else {}
        _write(directory, info.protocol, found["rows"], texts, {}, titles)

    return artifacts.make(path, COMPONENT, {}, {"rows": prepared}, build, root=root)


def read(path: pathlib.Path) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    """The statistics in an artefact, by split.

    Raises:
        ValueError: they are damaged.
    """
    due = _sketches(path).keys()
    with artifacts.reading(path / STATISTICS):
        content = (path / STATISTICS).read_bytes()
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
        splits = {dataset.name: dataset for dataset in found.datasets}
        if splits.keys() != due:  # an empty file is a message, too
            raise KeyError(f"its splits are {sorted(splits)}, those of {_SKETCHES} {sorted(due)}")
        return splits


def sketch(path: pathlib.Path) -> np.ndarray:
    """The sketch of all events of an artefact, over all splits."""
    from . import statistics

    all_hashes = [np.zeros(0, np.uint64), *_sketches(path).values()]
    return np.unique(np.concatenate(all_hashes))[: statistics.SKETCH]


def _sketches(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The sketches in an artefact, by split."""
    with (
        artifacts.reading(path / _SKETCHES),
        (path / _SKETCHES).open("rb") as file,
        np.load(file) as found,
    ):
        return dict(found.items())


def _write(
    directory: pathlib.Path,
    title: str,
    splits: "statistics.Splits",
    texts: Mapping[str, Sequence[str]],
    shares: Mapping[str, Mapping[str, float]],
    titles: Mapping[str, str],
) -> None:
    from . import statistics_page
    from . import statistics_proto as protos

    found = statistics_pb2.DatasetFeatureStatisticsList()
    for name, counts in sorted(splits.items()):
        more = _sparsity(counts) | shares.get(name, {})
        found.datasets.append(protos.dataset(name, counts, texts, more))
    (directory / STATISTICS).write_bytes(found.SerializeToString(deterministic=True))
    page = statistics_page.page(title, found, titles)
    (directory / "index.html").write_text(page, encoding="utf-8")
    np.savez(directory / _SKETCHES, **{name: counts.sketch for name, counts in splits.items()})


def _sparsity(counts: "statistics.Counts") -> dict[str, float]:
    """Share of pairs of the users and items in use that no event is about."""
    used = [np.count_nonzero(counts.codes.get(name, [])) for name in ("user", "item")]
    pairs = used[0] * used[1]
    return {"sparsity": 1 - counts.n / pairs} if pairs else {}


def _in_table(span: "spans.Span", splits: "statistics.Splits") -> dict[str, dict[str, float]]:
    """Share of each split's events whose item (user) has a row in the side table."""
    shares: dict[str, dict[str, float]] = {name: {} for name in splits}
    for of in ("user", "item"):
        known = set(span.table(of)[of])
        if not known:
            continue
        is_known = np.array([text in known for text in span.texts(of)], bool)
        for name, counts in splits.items():
            by_code = counts.codes.get(of, np.zeros(0))
            if by_code.sum():
                share = by_code[is_known[: len(by_code)]].sum() / by_code.sum()
                shares[name][f"{of}: share in side table"] = float(share)
    return shares


def _of_file(file: str) -> "statistics.Splits":
    """Counts a record file, by split; a task of an engine."""
    import pandas as pd

    from tfrec import schema

    from . import statistics

    info = schema.DatasetInfo.load(pathlib.Path(file).parent)
    group = pathlib.Path(file).name.partition("-")[0]
    found: statistics.Splits = {}
    for rows in _batches(file):
        users = np.array([row["user"].int64_list.value[0] for row in rows])
        for part in schema.PARTS:
            items, values, times = schema.feature_names(part)
            columns = [row[items].int64_list.value for row in rows]
            row, column = np.repeat(users, list(map(len, columns))), _flat(columns, np.int64)
            user, item = (row, column) if info.rows == "user" else (column, row)
            frame = pd.DataFrame({"user": user, "item": item})
            frame["value"] = _flat([row[values].float_list.value for row in rows], np.float32)
            frame["time"] = _flat([row[times].int64_list.value for row in rows], np.int64)
            if len(frame):
                one = {_split(group, part): statistics.of_events(frame, {"user": "", "item": ""})}
                found = statistics.merge_splits(found, one)
    return found


def _batches(file: str) -> Iterator[list[Any]]:
    """The features of the rows in a record file, some rows at a time."""
    from tfrec.data import record_file
    from tfrec.serving import messages  # TensorFlow's import would be most of a worker's memory

    with artifacts.reading(pathlib.Path(file)):
        records = record_file.read(pathlib.Path(file))
        while batch := list(itertools.islice(records, _BATCH)):
            yield [messages.Example.FromString(record).features.feature for record in batch]


def _flat(lists: Sequence[Sequence[Any]], dtype: type) -> np.ndarray:
    return np.fromiter(itertools.chain.from_iterable(lists), dtype, sum(map(len, lists)))


def _split(group: str, part: str) -> str:
    """The split that a part of a row in a file group belongs to."""
    if part != "history":
        return part
    return "train" if group == "train" else f"{group}_fold_in"


def main() -> None:
    """Counts a span; prints the path of the page."""
    examples = artifacts.Artifact.load(cli.require(FLAGS, "examples"), example_gen.COMPONENT)
    output = pathlib.Path(cli.require(FLAGS, "output"))
    made = of_span(examples, engine.make(FLAGS.runner, FLAGS.beam, output.parent), output)
    print(f"page: {made.path / 'index.html'}   next: python -m {__package__}.schema_gen")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Counts a span: missing values, histograms, quantiles, top ids, sparsity, time range.",
    f"python -m {__package__}.statistics_gen --examples=span-1 --output=statistics-1",
)

if __name__ == "__main__":
    COMMAND.run()
