"""Command: what a run measured and recommends, as one page of HTML."""

import pathlib

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("run_dir", "", "the run, as given to tfrec.train", flag_values=FLAGS)
flags.DEFINE_list(
    "against", [], "other runs on the same data, to compare with: runs/a,runs/b", flag_values=FLAGS
)
flags.DEFINE_string("html", "", "the page (default: report.html in the run)", flag_values=FLAGS)
flags.DEFINE_list(
    "users", [], "raw ids of test users whose lists are shown (default: some)", flag_values=FLAGS
)
flags.DEFINE_integer("n_users", 4, "how many, without --users", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the draw of users", flag_values=FLAGS)


def main() -> None:
    """Flags, one call, where the page is."""
    path = pathlib.Path(cli.require(FLAGS, "run_dir"))
    page = pathlib.Path(FLAGS.html or path / "report.html")
    if FLAGS.html and not page.absolute().parent.is_dir():
        raise ValueError(f"--html={page}: there is no folder {page.parent}; make it first")
    cli.start_tensorflow()
    from tfrec.api import run

    against = [run.load(other) for other in FLAGS.against]
    run.load(path).report(page, against, FLAGS.users, FLAGS.n_users, FLAGS.seed)
    print(f"page: {page}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Writes a page of what a run measured: metrics, slices, curves, lists side by side.",
    "python -m tfrec.report --run_dir=runs/ease --against=runs/sasrec --html=report.html",
    positional="run_dir",
)

if __name__ == "__main__":
    COMMAND.run()
