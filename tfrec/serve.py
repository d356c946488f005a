"""Command: a local server that speaks TensorFlow Serving's gRPC and REST."""

import dataclasses

from absl import flags

from tfrec import cli
from tfrec.serving.server.options import Options

FLAGS = flags.FlagValues()
DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}
for field in dataclasses.fields(Options):
    DEFINE[field.type](field.name, field.default, field.metadata["help"], flag_values=FLAGS)


def main() -> None:
    """Flags, one call."""
    options = Options(
        **{field.name: FLAGS[field.name].value for field in dataclasses.fields(Options)}
    )
    options.check()
    cli.start_tensorflow()
    try:
        from tfrec.serving.server import run
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install 'tfrec[serving]'") from None

    run.run(options)


COMMAND = cli.Command(
    main,
    FLAGS,
    "Serves SavedModels by gRPC and REST, with many of tensorflow_model_server's flags.",
    "python -m tfrec.serve --model_name=deeprec --model_base_path=saved_models/deeprec "
    "--rest_api_port=8501 --demo",
)

if __name__ == "__main__":
    COMMAND.run()
