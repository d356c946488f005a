"""Command: prints a request for TensorFlow Serving, and its response; without TensorFlow."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_string("model_name", "", "the model's name on the server", flag_values=FLAGS)
flags.DEFINE_string("export_dir", "", "the model's export, for its name", flag_values=FLAGS)
flags.DEFINE_string("items", "", "a history, item:rating,...: 1:5,50:3", flag_values=FLAGS)
flags.DEFINE_string("user", "", "raw id of a known user, instead", flag_values=FLAGS)
flags.DEFINE_string("exclude", "", "raw item ids to exclude: 1,2", flag_values=FLAGS)
flags.DEFINE_string("allow", "", "the only raw item ids to recommend", flag_values=FLAGS)
flags.DEFINE_float("rating", 5.0, "rating of items given without one", flag_values=FLAGS)
flags.DEFINE_string(
    "url", "", "REST address to send it to: http://localhost:8501", flag_values=FLAGS
)
flags.DEFINE_string("target", "", "gRPC address to send it to: localhost:8500", flag_values=FLAGS)
flags.DEFINE_float("timeout", 10.0, "seconds to wait for an answer", flag_values=FLAGS)


def main() -> None:
    """Prints the request, sends it if an address is given, and prints the response."""
    from tfrec.serving import deployment, request_text

    exported = deployment.exports([FLAGS.export_dir]) if FLAGS.export_dir else [""]
    name = FLAGS.model_name or next(iter(exported))
    if not name:
        raise ValueError(
            "--model_name is missing: give the model's name on the server, or --export_dir"
        )
    given = (FLAGS["items"].value, FLAGS.user, FLAGS.exclude, FLAGS.allow, FLAGS.rating)
    signature, row = request_text.inputs(*given)
    body = request_text.rest(signature, row)
    url = f"{(FLAGS.url or 'http://localhost:8501').rstrip('/')}/v1/models/{name}:predict"
    print(f"REST:\n{request_text.curl(body, url)}\n")
    text = request_text.grpc_text(name, signature, row)
    print(f"gRPC, a tensorflow.serving.PredictRequest:\n{text}")
    if FLAGS.url:
        outputs = request_text.send_rest(url, body, FLAGS.timeout)
        print(f"answer over REST:\n{request_text.table(outputs)}")
    if FLAGS.target:
        outputs = request_text.send_grpc(FLAGS.target, name, signature, row, FLAGS.timeout)
        print(f"answer over gRPC:\n{request_text.table(outputs)}")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Prints a request as a curl line and as gRPC text; sends it to --url or --target.",
    "python -m tfrec.request --model_name=deeprec --items 1:5,50:3 --url=http://localhost:8501",
)

if __name__ == "__main__":
    COMMAND.run()
