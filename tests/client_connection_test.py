"""The client's connection: retries, signatures, load balancing, metadata, certificates."""

import asyncio
import collections
import contextlib
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from server_options_test import keys, ssl_config  # noqa: F401 (a fixture)
from servers import export_toy, serving

from tfrec.serving import base_client, channel, messages
from tfrec.serving.client import AsyncClient, Client, RequestError


class Fake(grpc.GenericRpcHandler):
    """A server of one signature: counts its calls, and keeps their metadata.

    Attributes:
        errors: Method -> code and how many times it is answered with that.
        version: Of the model.
    """

    def __init__(self):
        self.calls, self.errors, self.version = collections.Counter(), {}, 1
        self.metadata = []

    def service(self, details):
        method = details.method.rsplit("/")[-1]

        def answer(request, context):
            self.calls[method] += 1
            self.metadata.append(dict(context.invocation_metadata()))
            code, times = self.errors.get(method, (None, 0))
            if self.calls[method] <= times:
                context.abort(code, "no")
            return getattr(self, method)().SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)

    def Predict(self):  # noqa: N802
        response = messages.PredictResponse()
        response.model_spec.version.value = self.version
        return response

    def GetModelMetadata(self):  # noqa: N802
        response = messages.GetModelMetadataResponse()
        response.model_spec.version.value = self.version
        known = messages.SignatureDefMap()
        known.signature_def["serving_default"].SetInParent()
        response.metadata["signature_def"].Pack(known)
        return response

    def GetModelStatus(self):  # noqa: N802
        return messages.GetModelStatusResponse()


@contextlib.contextmanager
def answering(*fakes):
    """Servers of these; yields the addresses of all."""
    with contextlib.ExitStack() as stack:
        ports = []
        for fake in fakes:
            server = grpc.server(ThreadPoolExecutor(2), handlers=[fake])
            ports.append(server.add_insecure_port("127.0.0.1:0"))
            server.start()
            stack.callback(lambda one: one.stop(None).wait(), server)
        yield "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)


@pytest.mark.parametrize(
    ("attempts", "times", "calls"), [(1, 9, 1), (4, 9, 4), (4, 2, 3)], ids=["once", "all", "some"]
)
def test_an_unavailable_server_is_asked_again(attempts, times, calls):
    fake = Fake()
    fake.errors["GetModelStatus"] = (grpc.StatusCode.UNAVAILABLE, times)
    fake.errors["GetModelMetadata"] = (grpc.StatusCode.INTERNAL, 9)
    with answering(fake) as target, Client(target, "toy", timeout=30, attempts=attempts) as client:
        if calls > times:
            assert client.status() == {}
        else:
            with pytest.raises(RequestError, match="UNAVAILABLE: no"):
                client.status()
        assert fake.calls["GetModelStatus"] == calls
        with pytest.raises(RequestError, match="INTERNAL: no"):
            client.signatures()
        assert fake.calls["GetModelMetadata"] == 1, "only UNAVAILABLE is asked again"


def test_failed_calls_do_not_cost_a_second_call_for_signatures(monkeypatch):
    fake = Fake()
    fake.errors["Predict"] = (grpc.StatusCode.INVALID_ARGUMENT, 5)
    with answering(fake) as target, Client(target, "toy") as client:
        for _ in range(3):
            with pytest.raises(RequestError, match="INVALID_ARGUMENT: no"):
                client.predict({})
        with pytest.raises(RequestError, match='key "other" not found. known: serving_default'):
            client.predict({}, "other")
        assert fake.calls == {"GetModelMetadata": 1, "Predict": 3}
        monkeypatch.setattr(base_client, "REFRESH_SECONDS", 0.0)
        for due in (1, 2):  # old signatures may be the cause
            with pytest.raises(RequestError, match="INVALID_ARGUMENT: no"):
                client.predict({})
            assert fake.calls["GetModelMetadata"] == due


def test_signatures_are_asked_for_again_after_another_version_answered(monkeypatch):
    fake = Fake()
    with answering(fake) as target, Client(target, "toy") as client:
        client.predict({})
        fake.version = 2
        client.predict({})
        client.predict({})
        assert fake.calls["GetModelMetadata"] == 1, "they are young"
        monkeypatch.setattr(base_client, "REFRESH_SECONDS", 0.0)
        for _ in range(4):
            client.predict({})
        assert fake.calls == {"GetModelMetadata": 2, "Predict": 7}


@pytest.mark.parametrize("policy", ["round_robin", "pick_first"])
def test_calls_go_to_all_replicas_in_turn(policy):
    fakes = [Fake(), Fake()]
    with answering(*fakes) as target, Client(target, "toy", load_balancing=policy) as client:
        end = time.monotonic() + 20
        while policy == "round_robin" and not all(fake.calls for fake in fakes):
            client.status()  # until both are connected
            assert time.monotonic() < end
        before = [fake.calls["GetModelStatus"] for fake in fakes]
        for _ in range(10):
            client.status()
        got = [fake.calls["GetModelStatus"] - n for fake, n in zip(fakes, before)]
        assert sorted(got) == ([5, 5] if policy == "round_robin" else [0, 10])


def test_metadata_goes_with_every_call():
    fake, numbers = Fake(), itertools.count(1)
    with answering(fake) as target:
        with Client(target, "toy", metadata={"Authorization": "Bearer x"}) as client:
            client.predict({})
        with Client(target, "toy", metadata=lambda: {"token": str(next(numbers))}) as client:
            client.predict({})
    assert [m.get("authorization") for m in fake.metadata[:2]] == ["Bearer x"] * 2
    assert [m.get("token") for m in fake.metadata[2:]] == ["1", "2"]


def test_options_of_the_channel():
    options = channel.channel_options(4, keepalive=300)
    config = json.loads(options["grpc.service_config"])
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]
    assert config["methodConfig"][0]["retryPolicy"]["maxAttempts"] == 4
    assert config["methodConfig"][0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert options["grpc.max_receive_message_length"] == 2**31 - 1
    assert options["grpc.keepalive_time_ms"] == 300_000
    assert "methodConfig" not in json.loads(channel.channel_options(1)["grpc.service_config"])
    with pytest.raises(ValueError, match="'best': known are round_robin, pick_first"):
        channel.channel_options(load_balancing="best")


def test_the_users_options_come_first():
    fake = Fake()
    limit = {"grpc.max_send_message_length": 100}
    with answering(fake) as target, Client(target, "toy", options=limit) as client:
        with pytest.raises(RequestError, match="RESOURCE_EXHAUSTED"):
            client.predict({"x": np.zeros(100)})
        assert not fake.calls["Predict"]


# ------------------------------------------------------------------ client certificates


def test_client_certificates(keys, tmp_path):  # noqa: F811
    export_toy(tmp_path / "toy", 1)
    file = ssl_config(tmp_path / "ssl.config", keys, verify=True)
    authority, key, certificate = (text.encode() for text in keys)
    base = {"model_name": "toy", "model_base_path": str(tmp_path / "toy")}
    known = grpc.ssl_channel_credentials(authority, key, certificate)
    own = {"tls": authority, "client_key": key, "client_certificate": certificate}
    with serving("local", known, **base, ssl_config_file=file) as server:
        with Client(server.target, "toy", **own) as client:
            assert client.predict({"n": [1]}, "count")["next"].tolist() == [2]
        with (
            Client(server.target, "toy", tls=authority, attempts=1) as stranger,
            pytest.raises(RequestError, match="UNAVAILABLE"),
        ):
            stranger.predict({"n": [1]}, "count")

        async def ask():
            async with AsyncClient(server.target, "toy", **own) as client:
                return await client.predict({"n": [1]}, "count")

        assert asyncio.run(ask())["next"].tolist() == [2]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tls": True, "client_key": b"x"}, "client_key and client_certificate belong together"),
        ({"client_key": b"x", "client_certificate": b"y"}, "client_key needs TLS"),
    ],
)
def test_half_a_client_certificate(given, expected):
    with pytest.raises(ValueError, match=expected):
        Client(**given)
