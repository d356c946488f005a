"""Writes `messages.binpb`, the official messages and services for clients without TensorFlow.

    python -m tfrec.serving.descriptor_set

reads the installed tensorflow-serving-api (which imports TensorFlow) and writes the file to the
folder of this module. Run it when that package changes; a test compares the two.
"""

import pathlib

from google.protobuf import descriptor_pb2

PATH = pathlib.Path(__file__).with_name("messages.binpb")


def collect() -> bytes:
    """The files of both services and of prediction logs, after the files that they import."""
    from tensorflow_serving.apis import (
        model_service_pb2,
        prediction_log_pb2,
        prediction_service_pb2,
    )

    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file) -> None:
        for imported in file.dependencies:
            add(imported)
        if file.name not in found:
            found[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)

    for module in (prediction_service_pb2, model_service_pb2, prediction_log_pb2):
        add(module.DESCRIPTOR)
    files = descriptor_pb2.FileDescriptorSet(file=found.values())
    return files.SerializeToString(deterministic=True)


if __name__ == "__main__":
    PATH.write_bytes(collect())
    print(f"{PATH}: {PATH.stat().st_size:,} bytes")
