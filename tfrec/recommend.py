"""Command: recommendations for a known user or for any history, by a trained run."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("run_dir", "", "the run, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_string("user", "", "raw id of a known user", flag_values=FLAGS)
flags.DEFINE_string(
    "items",
    "",
    "a history, item:rating,...: 1:5,50:3; without a rating: the highest of the data",
    flag_values=FLAGS,
)
flags.DEFINE_string("similar", "", "raw id of an item: the items most alike", flag_values=FLAGS)
flags.DEFINE_bool("all", False, "all users, into --output", flag_values=FLAGS)
flags.DEFINE_string("output", "", "a Parquet file, for --all", flag_values=FLAGS)
flags.DEFINE_integer("k", 10, "how many items", lower_bound=1, flag_values=FLAGS)


def main() -> None:
    """Flags, one call, a table."""
    path = cli.require(FLAGS, "run_dir")
    asked = [bool(FLAGS[name].value) for name in ("user", "items", "similar", "all")]
    if sum(asked) != 1:
        raise ValueError("give one of --user=ID, --items=item:rating,..., --similar=ITEM and --all")
    output = cli.require(FLAGS, "output") if FLAGS["all"].value else ""
    cli.start_tensorflow()
    from tfrec.api import printed, run

    if output:
        n = run.load(path).recommend_all(output, FLAGS.k)
        print(f"{n:,} users, {FLAGS.k} items each at most: {output}")
        return
    if FLAGS.similar:
        print(printed.similar(run.load(path), FLAGS.similar, FLAGS.k))
        return
    print(printed.recommendations(run.load(path), FLAGS.user, FLAGS["items"].value, FLAGS.k))


COMMAND = cli.Command(
    main,
    FLAGS,
    "Prints recommendations; what the history holds is left out.",
    'python -m tfrec.recommend --run_dir=runs/deeprec --items "1:5,50:3" --k=10',
)

if __name__ == "__main__":
    COMMAND.run()
