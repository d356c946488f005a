"""Command: raw ratings -> TFRecords of rows, vocabularies and `info.json`."""

from absl import flags

from tfrec import cli, names
from tfrec import config as config_lib
from tfrec.config import DataConfig

FLAGS = flags.FlagValues()
flags.DEFINE_string("dataset", "ml-latest-small", "which data set", flag_values=FLAGS)
flags.DEFINE_string("raw", "", "the raw files: a zip or a folder", flag_values=FLAGS)
flags.DEFINE_string(
    "columns", "", "tabular: which columns are what, user=customer_id,item=sku", flag_values=FLAGS
)
flags.DEFINE_string(
    "split", "random", "random, folds, time, month, users or last", flag_values=FLAGS
)
flags.DEFINE_string("data_dir", "", "where the prepared data goes", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "data", [], "name=value of the data's settings, such as seed=1", flag_values=FLAGS
)
flags.DEFINE_bool("overwrite", False, "replace what is prepared there", flag_values=FLAGS)


def main() -> None:
    """Flags, one call, a short summary."""
    data_dir = cli.require(FLAGS, "data_dir")
    names.refuse_data_set(FLAGS.dataset)
    data = config_lib.data_config(
        DataConfig(), FLAGS.dataset, FLAGS.split, FLAGS["data"].value, FLAGS.columns
    )
    cli.start_tensorflow()
    from tfrec.data import prepare
    from tfrec.datasets import registry
    from tfrec.training import summaries

    raw = registry.open_as(data, FLAGS.raw or None)
    info = prepare.prepare(raw, data, data_dir, overwrite=FLAGS.overwrite)
    print(summaries.data_summary(info))
    print(f"prepared: {data_dir}   next: python -m tfrec.train --data_dir={data_dir}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Writes the prepared data: rows as TFRecords, vocabularies, info.json.",
    "python -m tfrec.prepare --dataset=ml-1m --raw=ml-1m.zip --data_dir=data/ml1m",
)

if __name__ == "__main__":
    COMMAND.run()
