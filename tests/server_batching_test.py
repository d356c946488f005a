"""Server-side batching: the real server's parameters, sizes, padding and refusals."""

import asyncio
import threading
import time
import types

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from servers import export_toy, kind, serving  # noqa: F401 (a fixture)
from tensorflow_serving.apis import predict_pb2

from tfrec.server import config_files, merging
from tfrec.server.batching import Batcher, Settings
from tfrec.server.errors import ServingError
from tfrec.server.saved_model import Call


def call(rows, length=1, value=1.0, name="x"):
    return Call((name,), (np.full([rows, length], value),), ("y",))


class Model:
    """Doubles its input; notes the sizes it was given, and blocks on request."""

    def __init__(self, settings):
        self.sizes, self.limits = [], []
        self.gate = asyncio.Event()
        self.gate.set()
        self.batcher = Batcher(settings, self.run)

    async def run(self, call, limit):
        self.sizes.append(len(call.arrays[0]))
        self.limits.append(limit)
        await self.gate.wait()
        return [call.arrays[0] * 2]

    async def ask(self, *calls, deadline=None):
        """All at once; answers or errors."""
        asked = [self.batcher.run(c, deadline) for c in calls]
        return await asyncio.gather(*asked, return_exceptions=True)

    def begin(self, *calls, deadline=None):
        """Asks, and does not wait."""
        return asyncio.ensure_future(self.ask(*calls, deadline=deadline))


def test_requests_run_together_and_each_gets_its_own_rows():
    async def main():
        model = Model(Settings(max_batch_size=8, num_batch_threads=1, batch_timeout_micros=20_000))
        answers = await model.ask(call(2, value=1), call(1, value=5), call(3, value=7))
        assert model.sizes == [6]
        assert [a[0].ravel().tolist() for a in answers] == [[2, 2], [10], [14, 14, 14]]
        assert isinstance(answers[0], list)

    asyncio.run(main())


def test_sizes_are_rounded_up_to_the_allowed_ones():
    async def main():
        settings = Settings(
            max_batch_size=16, allowed_batch_sizes=(4, 16), num_batch_threads=1,
            batch_timeout_micros=20_000,
        )  # fmt: skip
        model = Model(settings)
        await model.ask(call(1))
        answers = await model.ask(call(3), call(2, value=4.0))
        assert model.sizes == [4, 16]
        assert answers[1][0].tolist() == [[8], [8]]

    asyncio.run(main())


def test_large_requests_run_in_pieces_where_splitting_is_on():
    """The first piece fills the open batch; all sizes are rounded up to the allowed ones."""

    async def main():
        settings = Settings(
            max_batch_size=16, max_execution_batch_size=4, enable_large_batch_splitting=True,
            num_batch_threads=1, batch_timeout_micros=20_000, allowed_batch_sizes=(3, 4, 16),
        )  # fmt: skip
        model = Model(settings)
        counted = Call(("x",), (np.arange(9.0)[:, None],), ("y",))
        small, large = await model.ask(call(3), counted)
        assert model.sizes == [4, 4, 4]
        assert small[0].tolist() == [[2]] * 3
        assert large[0].ravel().tolist() == [2 * n for n in range(9)]
        (error,) = await model.ask(call(17))
        assert error.message == "Task size 17 is larger than maximum input batch size 16"
        alone = model.batcher.run_alone(counted, lambda c: [c.arrays[0] + 1])
        assert alone[0].ravel().tolist() == list(range(1, 10))

    asyncio.run(main())


def test_requests_of_another_dtype_or_rank_run_separately():
    async def main():
        model = Model(Settings(batch_timeout_micros=10_000))
        text = Call(("x",), (np.array([[b"a"]], object),), ("y",))
        flat = Call(("x",), (np.ones(1),), ("y",))
        good = await model.ask(call(1), text, call(2), flat)
        assert sorted(model.sizes) == [1, 1, 3]
        assert good[2][0].tolist() == [[2], [2]]
        assert not any(model.batcher._queues.values())

    asyncio.run(main())


def test_without_a_timeout_a_batch_gathers_while_the_threads_are_busy():
    async def main():
        model = Model(Settings(max_batch_size=4, num_batch_threads=1))
        model.gate.clear()
        waiting = model.begin(*[call(1) for _ in range(8)])
        await asyncio.sleep(0.01)
        model.gate.set()
        await waiting
        assert model.sizes == [1, 4, 3]

    asyncio.run(main())


def test_a_full_batch_does_not_wait_for_the_timeout():
    async def main():
        model = Model(Settings(max_batch_size=2, batch_timeout_micros=10_000_000))
        start = time.monotonic()
        await model.ask(call(1), call(1))
        assert time.monotonic() - start < 5
        assert model.sizes == [2]

    asyncio.run(main())


def test_signatures_are_never_mixed():
    async def main():
        model = Model(Settings(batch_timeout_micros=10_000))
        await model.ask(call(1), call(1, name="z"))
        assert model.sizes == [1, 1]

    asyncio.run(main())


def test_refusals():
    async def main():
        model = Model(Settings(max_batch_size=2, max_enqueued_batches=1, num_batch_threads=1))
        (error,) = await model.ask(call(3))
        assert error.message == "Task size 3 is larger than maximum input batch size 2"
        model.gate.clear()
        waiting = model.begin(*[call(2) for _ in range(3)])
        await asyncio.sleep(0.01)
        model.gate.set()
        _, _, error = await waiting
        assert error.code is grpc.StatusCode.UNAVAILABLE
        assert "The batch scheduling queue to which this task was submitted is full" in str(error)
        scalar = Call(("x",), (np.array(1.0),), ("y",))
        (error,) = await model.ask(scalar)
        assert error.message == "Batching Run() input tensors must have at least one dimension"
        uneven = Call(("x", "z"), (np.ones(2), np.ones(1)), ("y",))
        (error,) = await model.ask(uneven)
        assert error.message == "Batching Run() input tensors must have equal 0th-dimension size"

    asyncio.run(main())


def test_a_late_request_fails_and_the_batch_has_the_longest_deadline():
    async def main():
        model = Model(Settings(max_batch_size=8, num_batch_threads=1))
        model.gate.clear()
        first = model.begin(call(1))
        await asyncio.sleep(0)
        now = time.monotonic()
        late = model.begin(call(1), deadline=now + 0.02)
        patient = model.begin(call(1), deadline=now + 50)
        await asyncio.sleep(0.05)
        model.gate.set()
        await first
        (error,), (answer,) = await late, await patient
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert answer[0].tolist() == [[2]]
        assert model.sizes == [1, 1]
        assert model.limits[0] is None
        assert 40_000 < model.limits[1] <= 50_000

    asyncio.run(main())


def test_an_error_fails_the_whole_batch_and_the_next_one_runs():
    async def main():
        model = Model(Settings(batch_timeout_micros=5_000, num_batch_threads=1))
        run = model.batcher._run

        async def fail(call, limit):
            model.batcher._run = run
            raise ServingError("INTERNAL", "it broke")

        model.batcher._run = fail
        assert [str(e) for e in await model.ask(call(1), call(1))] == ["it broke"] * 2
        ((answer,),) = await model.ask(call(1))
        assert answer.tolist() == [[2]]

    asyncio.run(main())


def test_padding_repeats_the_first_value_or_is_refused():
    wide, narrow = call(1, 3, 5.0), call(1, 1, 7.0)
    merged = merging.merge([wide, narrow], Settings(pad_variable_length_inputs=True))
    assert merged.arrays[0].tolist() == [[5, 5, 5], [7, 7, 7]]
    with pytest.raises(ServingError, match="have different shapes and padding is turned off"):
        merging.merge([wide, narrow], Settings())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("allowed_batch_sizes: [4, 2]", "must be increasing"),
        ("max_batch_size {value: 8} allowed_batch_sizes: [2, 4]", "last entry was 4; expected 8"),
        ("num_batch_threads {value: 0}", "must be at least 1"),
        (
            "max_batch_size {value: 8} max_execution_batch_size {value: 9}",
            "max_execution_batch_size 9 must not be larger than max_batch_size, 8",
        ),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, text, expected):
    file = tmp_path / "batching.config"
    file.write_text(text)
    with pytest.raises(ValueError, match=expected):
        Settings.of(config_files.read(file, "BatchingParameters"))


def test_parameters_of_a_file(tmp_path):
    file = tmp_path / "batching.config"
    file.write_text(
        "max_batch_size { value: 128 } batch_timeout_micros { value: 1000 }\n"
        "max_enqueued_batches { value: 7 } num_batch_threads { value: 3 }\n"
        "thread_pool_name { value: 'mine' } pad_variable_length_inputs: true\n"
        "allowed_batch_sizes: 32 allowed_batch_sizes: 128\n"
        "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 32 }"
    )
    found = Settings.of(config_files.read(file, "BatchingParameters"))
    assert found == Settings(128, 1000, 7, 3, (32, 128), True, True, 32)


# ------------------------------------------------------------------ through the server


@pytest.fixture(scope="module")
def server(kind, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("batching")
    export_toy(folder / "toy", 1)
    file = folder / "batching.config"
    file.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 100000 } "
        "num_batch_threads { value: 1 } allowed_batch_sizes: [4, 8]"
    )
    flags = {"model_name": "toy", "model_base_path": str(folder / "toy")}
    flags |= {"enable_batching": True, "batching_parameters_file": str(file)}
    with serving(kind, **flags) as running:
        yield running


def together(server, lengths):
    """Requests of one row each, sent at once: answers or errors."""
    asked = []
    for number, length in enumerate(lengths):
        request = text_format.Parse("model_spec {name: 'toy'}", predict_pb2.PredictRequest())
        values = np.full([1, length], number + 1.0, np.float32)
        items = np.full([1, length], "a")
        request.inputs["items"].CopyFrom(tf.make_tensor_proto(items))
        request.inputs["values"].CopyFrom(tf.make_tensor_proto(values))
        asked.append(server.stub.Predict.future(request, timeout=20))
    return [a.exception() or tf.make_ndarray(a.result().outputs["scores"])[:, 0] for a in asked]


def test_answers_of_batched_requests(server):
    answers = together(server, [3] * 5)
    assert [a.tolist() for a in answers] == [[4], [7], [10], [13], [16]]


def test_requests_of_several_lengths_fail_together_without_padding(server):
    errors = together(server, [3, 2])
    assert {e.code() for e in errors} == {grpc.StatusCode.FAILED_PRECONDITION}
    assert "have different shapes and padding is turned off" in errors[0].details()


def test_a_wrong_dtype_fails_alone(server):
    good = text_format.Parse(
        "model_spec {name: 'toy' signature_name: 'count'}", predict_pb2.PredictRequest()
    )
    bad = type(good).FromString(good.SerializeToString())
    good.inputs["n"].CopyFrom(tf.make_tensor_proto(np.array([1])))
    bad.inputs["n"].CopyFrom(tf.make_tensor_proto(np.array([1.0])))
    asked = [server.stub.Predict.future(one, timeout=20) for one in [good, bad] * 3]
    for one in asked[::2]:
        assert tf.make_ndarray(one.result().outputs["next"]).tolist() == [2]
    for one in asked[1::2]:
        assert one.exception().details() == "Expects arg[0] to be int64 but double is provided"


def test_a_request_larger_than_a_batch(server):
    request = text_format.Parse("model_spec {name: 'toy'}", predict_pb2.PredictRequest())
    request.inputs["items"].CopyFrom(tf.make_tensor_proto(np.full([9, 1], "a")))
    request.inputs["values"].CopyFrom(tf.make_tensor_proto(np.ones([9, 1], np.float32)))
    with pytest.raises(grpc.RpcError, match="Task size 9 is larger than maximum input batch"):
        server.stub.Predict(request)


def test_many_clients_at_once(server):
    found = types.SimpleNamespace(answers=[], lock=threading.Lock())

    def work():
        for _ in range(5):
            answers = together(server, [2, 2])
            with found.lock:
                found.answers += [a.tolist() for a in answers]

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.answers) == [[3.0]] * 40 + [[5.0]] * 40
