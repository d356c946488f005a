"""SchemaGen: infers the schema of the events once; later it is edited by hand.

The schema is a text of tensorflow_metadata's Schema message. An existing one is not inferred
again: it is the contract that later spans are checked against.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from tfrec import aside, cli

from . import artifacts, example_gen, statistics_gen

if TYPE_CHECKING:
    from . import spans

COMPONENT = "schema_gen"
INTEGERS = "whole numbers"  # annotation of ids that are integers
KNOWN_ITEMS = 0.7  # share of events that must be on known items
DRIFT = 0.1  # Jensen-Shannon divergence between the values of two spans; 0 to 1
SKEW = 0.1  # the same between training and test

_HEAD = """\
# The schema of the events of each span; edit it, it is not inferred again.
# See docs/pipeline.md; the format is Schema in tensorflow_metadata/proto/v0/schema.proto.
"""

FLAGS = flags.FlagValues()
flags.DEFINE_string("examples", "", "a span, as made by example_gen", flag_values=FLAGS)
flags.DEFINE_string("statistics", "", "its statistics", flag_values=FLAGS)
flags.DEFINE_string("schema", "schema.pbtxt", "the file to write", flag_values=FLAGS)
flags.DEFINE_bool("overwrite", False, "infer it again", flag_values=FLAGS)

_Stats = statistics_pb2.DatasetFeatureStatistics


def infer(span: "spans.Span", splits: dict[str, _Stats]) -> schema_pb2.Schema:
    """The schema of a span.

    Args:
        span: The span, which gives the scale of the values.
        splits: Its statistics by split; the first gives the columns.
    """
    from .statistics import LATEST

    schema = schema_pb2.Schema()
    schema.dataset_constraints.min_examples_count = 1
    for stats in next(iter(splits.values())).features:
        name = stats.path.step[0]
        feature = schema.feature.add(name=name)
        feature.presence.min_fraction = 1.0
        feature.presence.min_count = 1
        feature.shape.dim.add(size=1)
        if name in ("user", "item"):
            feature.type = schema_pb2.BYTES
            if _all_whole(name, splits):
                feature.annotation.tag.append(INTEGERS)
            if name == "item":
                feature.distribution_constraints.min_domain_mass = KNOWN_ITEMS
        elif name == "value":
            feature.type = schema_pb2.FLOAT
            feature.float_domain.min = span.about["rating_min"]
            feature.float_domain.max = span.about["rating_max"]
            feature.drift_comparator.jensen_shannon_divergence.threshold = DRIFT
            feature.skew_comparator.jensen_shannon_divergence.threshold = SKEW
        elif name == "time":
            feature.type = schema_pb2.INT
            feature.int_domain.min, feature.int_domain.max = 0, LATEST - 1
        else:  # the event's own fields, which may be missing
            feature.type = schema_pb2.BYTES if stats.HasField("string_stats") else schema_pb2.FLOAT
            feature.ClearField("presence")
    return schema


def _all_whole(name: str, splits: dict[str, _Stats]) -> bool:
    from . import statistics_proto as protos

    return all(protos.custom(stats).get(f"{name}: whole numbers") for stats in splits.values())


def run(
    path: pathlib.Path, examples: artifacts.Artifact, statistics: artifacts.Artifact
) -> pathlib.Path:
    """Writes the schema of a span unless one exists; returns its path.

    Raises:
        ValueError: there is none yet, and it cannot be inferred from this span.
    """
    if path.exists():
        print(f"{COMPONENT:18}{'kept':>10}  {path}", flush=True)
        return path
    from . import spans

    span = spans.Span.load(examples.path)
    splits = statistics_gen.read(statistics.path)
    if span.error or not splits:
        raise ValueError(f"the first span cannot be read: {span.error or 'it has no events'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside.file(path) as partial:
        partial.write_text(_HEAD + text_format.MessageToString(infer(span, splits)))
    print(f"{COMPONENT:18}{'inferred':>10}  {path}", flush=True)
    return path


def read(path: pathlib.Path) -> schema_pb2.Schema:
    """Reads a schema.

    Raises:
        ValueError: the text is invalid; with line and column.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"--schema={path}: {error}: correct it, or remove it to have it inferred again"
        ) from None


def main() -> None:
    """Runs the step."""
    examples = artifacts.Artifact.load(cli.require(FLAGS, "examples"), example_gen.COMPONENT)
    statistics = artifacts.Artifact.load(cli.require(FLAGS, "statistics"), statistics_gen.COMPONENT)
    path = pathlib.Path(FLAGS.schema)
    if FLAGS.overwrite:
        path.unlink(missing_ok=True)
    run(path, examples, statistics)


COMMAND = cli.Command(
    main,
    FLAGS,
    "Infers the schema of a span, once.",
    f"python -m {__package__}.schema_gen --examples=span-1 --statistics=statistics-1",
)

if __name__ == "__main__":
    COMMAND.run()
