"""The server's text files: models, batching, monitoring, TLS.

`tensorflow-serving-api` has only the messages of models.config; those of the other files are
described here, field by field, with the names of TensorFlow Serving's own .proto files.
"""

import functools
import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

# Message -> field -> type, "*" for repeated. The first three are wrappers: `name { value: 1 }`.
FIELDS = {
    "Int64": {"value": "int64"},
    "Text": {"value": "string"},
    "Flag": {"value": "bool"},
    "BatchingParameters": {
        "max_batch_size": "Int64",
        "batch_timeout_micros": "Int64",
        "max_enqueued_batches": "Int64",
        "num_batch_threads": "Int64",
        "thread_pool_name": "Text",
        "allowed_batch_sizes": "*int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "Flag",
        "max_execution_batch_size": "Int64",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
}
PACKAGE = "tensorflow.serving"
TYPES = descriptor_pb2.FieldDescriptorProto


@functools.cache
def _messages() -> dict[str, type[Message]]:
    """The message classes of `FIELDS`, in their own descriptor pool."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tfrec_config_files.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            described = message.field.add(name=field, number=number)
            repeated = kind.startswith("*")
            described.label = TYPES.LABEL_REPEATED if repeated else TYPES.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            if kind in FIELDS:
                described.type, described.type_name = TYPES.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                described.type = getattr(TYPES, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in FIELDS}
    return {name: message_factory.GetMessageClass(found[name]) for name in FIELDS}


def read(path: str | pathlib.Path, message: str | Message) -> Message:
    """Parses a text file.

    Args:
        path: The file.
        message: An empty message, or the name of one of `FIELDS`.

    Raises:
        ValueError: the text is invalid; with file, line and column.
    """
    if isinstance(message, str):
        message = _messages()[message]()
    try:
        return text_format.Parse(pathlib.Path(path).read_text(), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        text = f"Error parsing text-format {message.DESCRIPTOR.full_name}: {error}"
        raise ValueError(f"Invalid protobuf file: '{path}': {text}") from None
