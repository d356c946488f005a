"""Writes and reads TFRecord files.

Where google-crc32c is installed (it comes with `tfrec[pipelines]`) this needs no
TensorFlow, whose import would be most of a worker's memory. The format:
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import pathlib
import struct
from collections.abc import Iterable, Iterator

try:
    import google_crc32c
except ImportError:
    google_crc32c = None

NEEDS_TENSORFLOW = google_crc32c is None
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_MASK = 0xA282EAD8


def write(path: pathlib.Path, records: Iterable[bytes]) -> None:
    """Writes a file of records."""
    if NEEDS_TENSORFLOW:
        _by_tensorflow(path, records)
        return
    with path.open("wb") as file:
        for record in records:
            length = _LENGTH.pack(len(record))
            file.write(b"".join((length, _masked(length), record, _masked(record))))


def read(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the records of a file.

    Raises:
        ValueError: a record is truncated or its checksum is wrong.
    """
    if NEEDS_TENSORFLOW:
        import tensorflow as tf

        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        return
    with path.open("rb") as file:
        while length := file.read(_LENGTH.size):
            checked = file.read(_CHECKSUM.size) == _masked(length)
            record = file.read(_LENGTH.unpack(length)[0]) if checked else b""
            if not checked or file.read(_CHECKSUM.size) != _masked(record):
                raise ValueError("a record is truncated or its checksum is wrong")
            yield record


def _masked(data: bytes) -> bytes:
    """The masked CRC-32C of some bytes."""
    crc = google_crc32c.value(data)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


def _by_tensorflow(path: pathlib.Path, records: Iterable[bytes]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
