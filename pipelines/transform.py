"""Transform: prepares spans as rows, with the same bytes as `tfrec.data.prepare`.

The directory is a --data_dir for `tfrec.train`. Where all ratings fit the memory of this process,
as numbers, it filters and splits them, and the workers of the engine sort, encode and write the
rows block by block and file by file. Otherwise the workers do all of it, partition by partition
(--partitions); the bytes are the same.
"""

import pathlib
from collections.abc import Mapping

from absl import flags

from tfrec import cli, data_flags
from tfrec import config as config_lib
from tfrec.config import DataConfig

from . import artifacts, engine, example_gen

COMPONENT = "transform"

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string("examples", [], "spans in order, repeated", flag_values=FLAGS)
flags.DEFINE_string("split", "random", "random, folds, time, users or last", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "data", [], "name=value of the data's settings, such as seed=1", flag_values=FLAGS
)
flags.DEFINE_integer("partitions", 0, data_flags.PARTITIONS, lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string("output", "", "the directory to make", flag_values=FLAGS)
flags.DEFINE_string("runner", "local", "local, or a runner of Beam", flag_values=FLAGS)
flags.DEFINE_multi_string("beam", [], "name=value of Beam's options", flag_values=FLAGS)


def run(
    examples: Mapping[int, artifacts.Artifact],
    data: DataConfig,
    engine: engine.Engine,
    path: pathlib.Path | None = None,
    root: pathlib.Path | None = None,
    n_partitions: int = 0,
) -> artifacts.Artifact:
    """Prepares the concatenation of the spans as one data set.

    Args:
        examples: Spans by number.
        data: Settings of preparing.
        engine: Runs the tasks.
        path: As in `artifacts.make`.
        root: As in `artifacts.make`.
        n_partitions: The number of partitions; 1: in memory; 0: chosen by size.

    Raises:
        ValueError: the settings do not fit this data, or it cannot be divided.
    """

    def build(directory: pathlib.Path) -> None:
        from tfrec.data import prepare

        from . import partitions, spans

        found = [spans.Span.load(examples[n].path) for n in sorted(examples)]
        raw, n = spans.as_raw(found), partitions.number(found, data, n_partitions)
        if n > 1:
            partitions.write(directory, found, raw, data, engine, n)
        else:
            prepare.write(directory, raw, data, False, engine.map, n_partitions=1)

    inputs = {f"examples-{number}": made for number, made in examples.items()}
    return artifacts.make(path, COMPONENT, config_lib.to_dict(data), inputs, build, root=root)


def main() -> None:
    """Runs the step and prints the next command."""
    from tfrec.data import record_file

    load = artifacts.Artifact.load
    examples = [load(path, example_gen.COMPONENT) for path in FLAGS.examples]
    if not examples:
        raise ValueError("--examples is missing: a span, as made by example_gen")
    output = pathlib.Path(cli.require(FLAGS, "output"))
    if record_file.NEEDS_TENSORFLOW:
        cli.start_tensorflow()
    data = config_lib.data_config(
        DataConfig(), examples[0].settings["dataset"], FLAGS.split, FLAGS.data
    )
    worker = engine.make(FLAGS.runner, FLAGS.beam, output.parent)
    run(dict(enumerate(examples, 1)), data, worker, output, n_partitions=FLAGS.partitions)
    print(f"next: python -m {__package__}.trainer --rows={output}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Filters, splits and writes rows, vocabularies, side tables and info.json.",
    f"python -m {__package__}.transform --examples=span-1 --split=time --output=rows",
)

if __name__ == "__main__":
    COMMAND.run()
