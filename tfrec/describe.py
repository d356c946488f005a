"""Command: describes a prepared directory: a table, checks for leaks, and a page with plots."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("data_dir", "", "the prepared data", flag_values=FLAGS)
flags.DEFINE_string("html", "", "also write a page with plots there", flag_values=FLAGS)


def main() -> None:
    """Prints the table, and writes the page."""
    data_dir = cli.require(FLAGS, "data_dir")
    cli.start_tensorflow()
    from tfrec.data import description, description_page, description_text, rule_audit
    from tfrec.schema import DatasetInfo
    from tfrec.training import readings

    info = DatasetInfo.load(data_dir)
    found = description.Description(data_dir, info)
    print(description_text.table(found))
    if answered := rule_audit.audit(data_dir, info):
        print(f"  note  {rule_audit.text(answered)}")
    n = readings.settings_that_read(info.fingerprint)
    print(f"  note  {n} settings have read this test set, according to {readings.path()}")
    if FLAGS.html:
        description_page.write(found, FLAGS.html)
        print(f"page: {FLAGS.html}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Describes prepared data and checks it for leaks.",
    "python -m tfrec.describe --data_dir=data/ml1m --html=ml1m.html",
)

if __name__ == "__main__":
    COMMAND.run()
