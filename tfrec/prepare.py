"""Command: prepares raw ratings as TFRecords of rows, vocabularies and `info.json`."""

from absl import flags

from tfrec import cli, data_flags, names
from tfrec.config import DataConfig

FLAGS = flags.FlagValues()
data_flags.define(FLAGS, "directory of the prepared data")
flags.DEFINE_integer("partitions", 0, data_flags.PARTITIONS, lower_bound=0, flag_values=FLAGS)
flags.DEFINE_bool("overwrite", False, "replace data that is prepared there", flag_values=FLAGS)


def main() -> None:
    """Prepares the data and prints a summary."""
    data_dir = cli.require(FLAGS, "data_dir")
    names.refuse_data_set(FLAGS.dataset)
    data = data_flags.settings(FLAGS, DataConfig())
    from tfrec.data import info_text, prepare, record_file
    from tfrec.datasets import registry

    if record_file.NEEDS_TENSORFLOW:
        cli.start_tensorflow()

    raw = registry.open_as(data, data_flags.sources(FLAGS))
    n, overwrite = FLAGS.partitions, FLAGS.overwrite
    info = prepare.prepare(raw, data, data_dir, overwrite=overwrite, n_partitions=n)
    print(info_text.of(info))
    print(f"prepared: {data_dir}   next: python -m tfrec.train --data_dir={data_dir}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Writes the prepared data: rows as TFRecords, vocabularies, info.json.",
    "python -m tfrec.prepare --dataset=ml-1m --raw=ml-1m.zip --data_dir=data/ml1m",
)

if __name__ == "__main__":
    COMMAND.run()
