"""Command: evaluates a trained run again, on validation or test."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("run_dir", "", "the run, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_string("part", "test", "validation or test", flag_values=FLAGS)
flags.DEFINE_string(
    "sampled",
    "",
    "rank only among sampled items, as in older papers: uniform-100 or popularity-100",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "against", "", "another run on the same data, to compare with", flag_values=FLAGS
)
flags.DEFINE_string("metric", "", "of the comparison (default: the task's own)", flag_values=FLAGS)


def main() -> None:
    """Evaluates the run and prints a table."""
    path = cli.require(FLAGS, "run_dir")
    cli.start_tensorflow()
    from tfrec.training import evaluation, summaries

    if FLAGS.against:
        print(summaries.compare_runs(path, FLAGS.against, FLAGS.metric))
        return
    result, protocol = evaluation.evaluate_run(path, FLAGS.part, FLAGS.sampled)
    for name, value in result.items():
        print(f"{name:22}{summaries.number(value):>12}")
    print(f"protocol: {protocol}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Evaluates a trained run, or compares two user by user.",
    "python -m tfrec.evaluate --run_dir=runs/deeprec",
)

if __name__ == "__main__":
    COMMAND.run()
