"""Small SavedModels and running servers for the tests of serving."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import grpc
import keras
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tfrec.server import run
from tfrec.server.options import Options

BINARY = "TENSORFLOW_MODEL_SERVER"
MAX = 2**31 - 1
LIMITS = [("grpc.max_receive_message_length", MAX), ("grpc.max_send_message_length", MAX)]


class Toy(tf.Module):
    """A model whose results are easy to compute by hand.

    `serving_default`: the score of an item is the sum of `values` times its number, plus
    `offset`, so that answers tell the versions apart.
    """

    def __init__(self, offset):
        super().__init__()
        self.offset = tf.Variable(float(offset), trainable=False)

    def recommend(self, items, values):
        total = tf.reduce_sum(values, axis=1, keepdims=True)
        found = tf.strings.length(items) > 0
        first = tf.where(tf.reduce_any(found, axis=1, keepdims=True), items[:, :1], "none")
        return {
            "items": tf.concat([first, tf.fill(tf.shape(first), "b")], axis=1),
            "titles": tf.fill([tf.shape(items)[0], 2], "Größe 天使"),
            "scores": tf.concat([total, 2 * total], axis=1) + self.offset,
        }

    def half_plus_two(self, x):
        """As TensorFlow Serving's own test model: its signature says `[batch, 1]`."""
        return {"y": 0.5 * x + 2}

    def half(self, x):
        return {"y": x / 2 + self.offset, "raw_bytes": tf.strings.as_string(x)}

    def count(self, n):
        """Int64, one output."""
        return {"next": n + 1}

    def parse(self, inputs):
        spec = {
            "x": tf.io.FixedLenFeature([], tf.float32, 0.0),
            "name": tf.io.FixedLenFeature([], tf.string, ""),
        }
        return tf.io.parse_example(inputs, spec)

    def classify(self, inputs):
        found = self.parse(inputs)
        names = tf.stack([found["name"], tf.fill(tf.shape(found["name"]), "other")], axis=1)
        return {"classes": names, "scores": tf.stack([found["x"], 1 - found["x"]], axis=1)}

    def regress(self, inputs):
        return {"outputs": self.parse(inputs)["x"] * 2 + self.offset}

    def slow(self, steps):
        """Some milliseconds a step."""
        done = tf.while_loop(
            lambda i, m: i < tf.reduce_max(steps),
            lambda i, m: (i + 1, tf.linalg.matmul(m, m) / tf.norm(m)),
            [0, tf.eye(300)],
        )
        return {"done": tf.fill(tf.shape(steps), tf.reduce_sum(done[1]))}


def export_toy(base, version, offset=None):
    """Writes BASE/VERSION under another name, then renames it."""
    toy = Toy(version if offset is None else offset)
    archive = keras.export.ExportArchive()
    archive.track(toy)
    text, number = tf.string, tf.float32
    spec = tf.TensorSpec
    pair = [spec([None, None], text, "items"), spec([None, None], number, "values")]
    archive.add_endpoint("serving_default", toy.recommend, pair)
    archive.add_endpoint("half_plus_two", toy.half_plus_two, [spec([None, 1], number, "x")])
    archive.add_endpoint("half", toy.half, [spec([None, 2], number, "x")])
    archive.add_endpoint("count", toy.count, [spec([None], tf.int64, "n")])
    archive.add_endpoint("classify", toy.classify, [spec([None], text, "inputs")])
    archive.add_endpoint("regress", toy.regress, [spec([None], text, "inputs")])
    archive.add_endpoint("slow", toy.slow, [spec([None], tf.int32, "steps")])
    aside = pathlib.Path(base) / f"writing-{version}"
    archive.write_out(aside, verbose=False)
    return aside.rename(aside.with_name(str(version)))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Running:
    """A server: official stubs, and REST."""

    def __init__(self, target, rest, credentials=None):
        self.target, self.rest = target, rest
        if credentials:
            self.channel = grpc.secure_channel(target, credentials, LIMITS)
        else:
            self.channel = grpc.insecure_channel(target, LIMITS)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def http(self, path, body=None, method=None):
        """Status and text of a request."""
        data = body.encode() if isinstance(body, str) else body
        asked = urllib.request.Request(f"http://{self.rest}{path}", data, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextlib.contextmanager
def serving(kind="local", credentials=None, **flags):
    """A running server with the flags.

    Args:
        kind: "local": in a thread of this process; "process": `python -m tfrec.serve`;
            "real": the binary named by TENSORFLOW_MODEL_SERVER.
    """
    ports = {"port": free_port(), "rest_api_port": free_port()}
    flags = {**ports, "file_system_poll_wait_seconds": 1, **flags}
    target = f"localhost:{flags['port']}"
    started = run.in_thread(Options(**flags)) if kind == "local" else process(kind, flags)
    with started as process_or_options:
        running = Running(target, f"localhost:{flags['rest_api_port']}", credentials)
        running.process = process_or_options
        with running.channel:
            yield running


@contextlib.contextmanager
def process(kind, flags):
    command = [sys.executable, "-m", "tfrec.serve"]
    if kind == "real":
        command = [os.environ[BINARY]]
    command += [f"--{name}={value}" for name, value in flags.items()]
    with tempfile.TemporaryFile("w+") as out:
        started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 120
            while not answers(flags["port"]):
                if started.poll() is not None or time.monotonic() > end:
                    out.seek(0)
                    raise AssertionError(out.read())
                time.sleep(0.1)
            yield started
        finally:
            started.terminate()
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def answers(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module", params=["local", pytest.param("real", marks=pytest.mark.real_tfs)])
def kind(request):
    """The local server, and the real one where there is one."""
    if request.param == "real" and not os.environ.get(BINARY):
        pytest.skip(f"{BINARY} names no tensorflow_model_server")
    return request.param


def eventually(check, seconds=30):
    """Waits until `check()` is true, and returns it."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found
