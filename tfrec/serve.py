"""Command: a local server with TensorFlow Serving's gRPC and REST APIs."""

import dataclasses

from absl import flags

from tfrec import cli
from tfrec.server.options import WITHOUT_EFFECT, Options

FLAGS = flags.FlagValues()
DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}
SETTINGS = [field for field in dataclasses.fields(Options) if "help" in field.metadata]
for field in SETTINGS:
    DEFINE[field.type](field.name, field.default, field.metadata["help"], flag_values=FLAGS)
for name, kind in WITHOUT_EFFECT.items():
    DEFINE[kind](name, None, "no effect in this server", flag_values=FLAGS)


def main() -> None:
    """Runs the server."""
    given = tuple(name for name in WITHOUT_EFFECT if FLAGS[name].value is not None)
    settings = {field.name: FLAGS[field.name].value for field in SETTINGS}
    options = Options(**settings, without_effect=given)
    options.check()
    cli.start_tensorflow()
    try:
        from tfrec.server import run
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is missing: pip install 'tfrec[serving]'") from None

    run.run(options)


COMMAND = cli.Command(
    main,
    FLAGS,
    "Serves SavedModels by gRPC and REST, with tensorflow_model_server's flags.",
    "python -m tfrec.serve --model_name=deeprec --model_base_path=saved_models/deeprec "
    "--rest_api_port=8501 --demo",
)

if __name__ == "__main__":
    COMMAND.run()
