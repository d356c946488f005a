"""Command: writes the files that tensorflow_model_server needs besides the exports."""

from absl import flags

from tfrec import cli

FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "export_dir", [], "an export, BASE of BASE/<version>/; once for each model", flag_values=FLAGS
)
flags.DEFINE_string("out_dir", "deploy", "where the files are written", flag_values=FLAGS)
flags.DEFINE_bool("overwrite", False, "replace existing files", flag_values=FLAGS)
flags.DEFINE_string(
    "image", "tensorflow/serving:2.21.0", "container image, with its tag", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "label", [], "MODEL:LABEL=VERSION, such as deeprec:canary=2: serves only versions that have "
    "labels; once for each label", flag_values=FLAGS,
)  # fmt: skip
flags.DEFINE_list(
    "batch_sizes", ["1", "4", "16", "64"], "allowed_batch_sizes, the last the largest",
    flag_values=FLAGS,
)  # fmt: skip
flags.DEFINE_integer(
    "batch_timeout_micros", 1000, "wait of a request for others", 0, flag_values=FLAGS
)
flags.DEFINE_integer("cpus", 2, "cores and threads of one replica", 1, flag_values=FLAGS)
flags.DEFINE_integer(
    "memory_mib", 0, "memory of one replica; 0: by the sizes of the exports", 0, flag_values=FLAGS
)
flags.DEFINE_integer("replicas", 2, "in Kubernetes", 1, flag_values=FLAGS)


def main() -> None:
    """Writes the files and prints how to start the server."""
    try:
        sizes = [int(size) for size in FLAGS.batch_sizes]
    except ValueError:
        raise ValueError(f"--batch_sizes={','.join(FLAGS.batch_sizes)}: whole numbers") from None
    cli.start_tensorflow()  # which the messages of configurations import
    from tfrec.serving import deployment

    settings = deployment.Settings(
        image=FLAGS.image,
        labels=deployment.parse_labels(FLAGS.label),
        batch_sizes=sizes,
        batch_timeout_micros=FLAGS.batch_timeout_micros,
        cpus=FLAGS.cpus,
        memory_mib=FLAGS.memory_mib,
        replicas=FLAGS.replicas,
    )
    content = deployment.files(FLAGS.export_dir, settings)
    for path in deployment.write(FLAGS.out_dir, content, FLAGS.overwrite):
        print(f"wrote: {path}")
    print(f"start: docker compose -f {FLAGS.out_dir}/docker-compose.yml up")
    print(f"or:    kubectl apply -f {FLAGS.out_dir}/kubernetes.yaml")


COMMAND = cli.Command(
    main,
    FLAGS,
    "Writes models.config, batching.config, monitoring.config, docker-compose.yml and "
    "kubernetes.yaml.",
    "python -m tfrec.deploy --export_dir=saved_models/deeprec --export_dir=saved_models/ease",
)

if __name__ == "__main__":
    COMMAND.run()
