"""Checks of model configurations, with the real server's errors."""

from tensorflow_serving.config import model_server_config_pb2

from tfrec.server import config_files
from tfrec.server.batching import Settings
from tfrec.server.errors import invalid

Config = model_server_config_pb2.ModelServerConfig


def check(config: Config) -> None:
    """Refuses a configuration that the real server would refuse.

    Raises:
        ServingError: with the reason.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
            "ModelConfigList is currently supported"
        )
    names = set()
    for model in config.model_config_list.config:
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
        if not model.base_path.startswith("/"):
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
        platform = model.model_platform or ("tensorflow" if model.model_type == 1 else "")
        if not platform:
            raise invalid("Illegal setting neither model_type(deprecated) nor model_platform.")
        if platform != "tensorflow":
            raise invalid(f"model_platform of {model.name} is {platform!r}, not 'tensorflow'")
        if model.HasField("logging_config"):
            raise invalid("No request-logger-creator provided.")


def batching_settings(path: str) -> Settings:
    """The settings in a file, or the defaults.

    Raises:
        ValueError: the file is invalid.
    """
    if not path:
        return Settings()
    try:
        return Settings.of(config_files.read(path, "BatchingParameters"))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if path in text else f"{path}: {text}") from None
