"""ExampleValidator: checks spans against the schema and against each other.

anomalies.pbtxt  tensorflow_metadata's Anomalies, one for each problem; empty if there is none

The artefact is written in either case; `check` then raises an error with one sentence for each
anomaly, so that nothing made from a bad span is ever pushed.
"""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from tfrec import cli

from . import artifacts, example_gen, schema_gen, statistics_gen

if TYPE_CHECKING:
    from . import checks

COMPONENT = "example_validator"
ANOMALIES = "anomalies.pbtxt"

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string("examples", [], "spans in order, repeated", flag_values=FLAGS)
flags.DEFINE_multi_string("statistics", [], "their statistics, repeated", flag_values=FLAGS)
flags.DEFINE_string("schema", "schema.pbtxt", "the schema to check against", flag_values=FLAGS)
flags.DEFINE_string("output", "", "the directory to make", flag_values=FLAGS)


def of_spans(
    examples: Mapping[int, artifacts.Artifact],
    counted: Mapping[int, artifacts.Artifact],
    schema: pathlib.Path,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
) -> artifacts.Artifact:
    """Checks each span against the schema and the spans before it."""

    def build(directory: pathlib.Path) -> None:
        _write(directory, _of_spans(examples, counted, schema_gen.read(schema)))

    inputs = {f"statistics-{number}": made for number, made in counted.items()}
    inputs |= {f"examples-{number}": made for number, made in examples.items()}
    inputs |= {"schema": artifacts.content(schema)}
    return artifacts.make(path, COMPONENT, {}, inputs, build, root=root)


def of_splits(
    counted: artifacts.Artifact,
    schema: pathlib.Path,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
) -> artifacts.Artifact:
    """Checks the test split of prepared rows against the training split."""

    def build(directory: pathlib.Path) -> None:
        from . import checks

        found = checks.Found()
        splits = statistics_gen.read(counted.path)
        if "test" in splits and "train" in splits:
            checks.compare(
                found, "test", splits["test"], "train", splits["train"],
                schema_gen.read(schema), "skew",
            )  # fmt: skip
        _write(directory, found)

    inputs = {"statistics": counted, "schema": artifacts.content(schema)}
    return artifacts.make(path, COMPONENT, {}, inputs, build, root=root)


def check(artifact: artifacts.Artifact) -> None:
    """Raises ValueError with a sentence for each anomaly, or if the file is damaged."""
    file = artifact.path / ANOMALIES
    with artifacts.reading(file):
        found = text_format.Parse(file.read_text(encoding="utf-8"), anomalies_pb2.Anomalies())
        if not found.HasField("anomaly_name_format"):  # `checks.Found` sets it
            raise EOFError("it is truncated")
    if found.anomaly_info:
        infos = [found.anomaly_info[name] for name in sorted(found.anomaly_info)]
        raise ValueError(
            f"{'; '.join(info.description for info in infos)}. Nothing was pushed. Correct the "
            f"span or, if the data is right, the schema; all anomalies: {file}"
        )


def _write(directory: pathlib.Path, found: "checks.Found") -> None:
    (directory / ANOMALIES).write_text(text_format.MessageToString(found.anomalies))


def _of_spans(
    examples: Mapping[int, artifacts.Artifact],
    counted: Mapping[int, artifacts.Artifact],
    schema: schema_pb2.Schema,
) -> "checks.Found":
    from . import checks, spans, statistics

    found = checks.Found()
    known: set[str] = set()
    before: dict[int, np.ndarray] = {}
    previous: tuple[str, dict] | None = None
    for number in sorted(examples):
        where = f"span {number}"
        span = spans.Span.load(examples[number].path)
        if span.error:
            found.add(where, "", "UNKNOWN_TYPE", "unreadable", f"it cannot be read: {span.error}")
            continue
        splits = statistics_gen.read(counted[number].path)
        for name, stats in splits.items():
            checks.of_split(found, where if name == "all" else f"{where}, {name}", stats, schema)
        if {"train", "test"} <= splits.keys():
            checks.compare(
                found, f"{where}, test", splits["test"], "train", splits["train"], schema, "skew"
            )
        checks.unknown_items(found, where, span, splits, known, schema)
        sketch = statistics_gen.sketch(counted[number].path)
        for other, hashes in before.items():
            checks.repeated(found, where, other, statistics.common(sketch, hashes))
        if previous:
            for name in splits.keys() & previous[1].keys():
                checks.compare(
                    found, where, splits[name], previous[0], previous[1][name], schema, "drift"
                )
        known |= set(span.texts("item"))
        before[number], previous = sketch, (where, splits)
    return found


def main() -> None:
    """Checks spans; fails if there are anomalies."""
    load = artifacts.Artifact.load
    examples = [load(path, example_gen.COMPONENT) for path in FLAGS.examples]
    counted = [load(path, statistics_gen.COMPONENT) for path in FLAGS.statistics]
    if not examples or len(examples) != len(counted):
        raise ValueError(
            f"--examples is given {len(examples)} times and --statistics {len(counted)} times; "
            "give both once a span, in order"
        )
    output = pathlib.Path(cli.require(FLAGS, "output"))
    check(
        of_spans(
            dict(enumerate(examples, 1)),
            dict(enumerate(counted, 1)),
            pathlib.Path(FLAGS.schema),
            output,
        )
    )
    print(f"no anomalies   next: python -m {__package__}.transform")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Checks spans against the schema and against each other.",
    f"python -m {__package__}.example_validator --examples=span-1 --statistics=statistics-1 "
    "--schema=schema.pbtxt --output=anomalies",
)

if __name__ == "__main__":
    COMMAND.run()
