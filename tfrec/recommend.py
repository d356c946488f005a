"""Command: recommends items for a known user or for any history, with a trained run."""

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
flags.DEFINE_string(
    "times",
    "",
    "for a model that reads times: when each of --items was chosen, seconds since 1970 or days: "
    "2000-12-31,2001-01-02T15:30",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "ask_time",
    "",
    "for a model that reads times: the time for which items are wanted, likewise (default: that of "
    "the newest item)",
    flag_values=FLAGS,
)
flags.DEFINE_string("similar", "", "raw id of an item: the most similar items", flag_values=FLAGS)
flags.DEFINE_bool("all", False, "all users, written to --output", flag_values=FLAGS)
flags.DEFINE_string("users", "", "a file of raw user ids, one a line", flag_values=FLAGS)
flags.DEFINE_string(
    "histories", "", "a table of histories: user, item, optionally value, time", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", "", "a .parquet or .csv file, for --all, --users and --histories", flag_values=FLAGS
)
flags.DEFINE_integer("k", 10, "number of items", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_bool(
    "explain",
    False,
    "with --user or --items: the items of the history that contributed most to each score",
    flag_values=FLAGS,
)


REQUESTS = ("user", "items", "similar", "all", "users", "histories")


def main() -> None:
    """Prints a table of recommendations, or writes a file."""
    path = cli.require(FLAGS, "run_dir")
    wanted = [name for name in REQUESTS if FLAGS[name].value]
    if len(wanted) != 1:
        raise ValueError("give one of " + ", ".join(f"--{name}" for name in REQUESTS))
    if FLAGS.explain and wanted[0] not in ("user", "items"):
        raise ValueError(f"--explain goes with --user or --items; leave it out for --{wanted[0]}")
    _check_times(wanted[0])
    output = cli.require(FLAGS, "output") if wanted[0] in REQUESTS[3:] else ""
    cli.start_tensorflow()
    from tfrec.api import printed, run

    found = run.load(path)
    if output:
        print(write(found, output))
    elif FLAGS.similar:
        print(printed.similar(found, FLAGS.similar, FLAGS.k))
    else:
        most = printed.REASONS if FLAGS.explain else 0
        when = printed.parse_times(FLAGS.times, FLAGS.ask_time)
        request = FLAGS.user, FLAGS["items"].value, FLAGS.k, most
        print(printed.recommendations(found, *request, **when))


def _check_times(request: str) -> None:
    """Refuses --times and --ask_time where they mean nothing."""
    if FLAGS.times and request != "items":
        raise ValueError(f"--times are those of --items; leave them out for --{request}")
    if FLAGS.ask_time and request not in ("user", "items"):
        raise ValueError(f"--ask_time goes with --user or --items; leave it out for --{request}")
    if FLAGS.ask_time and request == "items" and not FLAGS.times:
        raise ValueError("--ask_time needs to know when --items were chosen: give --times, too")


def write(found, output: str) -> str:
    """Writes the recommendations for many users to a file; returns a summary."""
    from tfrec.api import request_files

    if FLAGS["all"].value:
        n = found.recommend_all(output, FLAGS.k)
    else:
        request_files.check_output(output)
        wanted = (
            {"users": request_files.read_users(FLAGS.users)}
            if FLAGS.users
            else {
                "histories": request_files.read_histories(FLAGS.histories, found.model.usual_value)
            }
        )
        answers = found.recommend(k=FLAGS.k, **wanted)
        request_files.write(answers, output)
        n = len(next(iter(wanted.values())))
        unknown = sum(user not in found.users for user in wanted.get("users", ()))
        if unknown:
            output += f"; {unknown:,} of them are unknown and get popular items"
    return f"{n:,} users, at most {FLAGS.k} items each: {output}"


COMMAND = cli.Command(
    main,
    FLAGS,
    "Prints recommendations; items of the history are left out.",
    'python -m tfrec.recommend --run_dir=runs/deeprec --items "1:5,50:3" --k=10',
)

if __name__ == "__main__":
    COMMAND.run()
