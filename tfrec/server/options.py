"""The server's settings: flags of the real server by name, and a few of its own."""

import dataclasses
import os

CORES = os.cpu_count() or 1
# Flags of the real server that are accepted so that its command lines work, but have no effect.
WITHOUT_EFFECT: dict[str, type] = {
    "enable_per_model_batching_parameters": bool,
    "enable_profiler": bool,
    "enforce_session_run_timeout": bool,
    "flush_filesystem_caches": bool,
    "mixed_precision": str,
    "num_tflite_interpreters_per_pool": int,
    "num_tflite_pools": int,
    "num_unload_threads": int,
    "per_process_gpu_memory_fraction": float,
    "platform_config_file": str,
    "prefer_tflite_model": bool,
    "remove_unused_fields_from_bundle_metagraph": bool,
    "rest_api_enable_cors_support": bool,
    "skip_initialize_tpu": bool,
    "tensorflow_session_config_file": str,
    "thread_pool_factory_config_file": str,
    "use_alts_credentials": bool,
    "xla_cpu_compilation_enabled": bool,
    "xla_gpu_compilation_enabled": bool,
}


def _flag(default, text: str):
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `tensorflow_model_server` with its defaults, then those of this server.

    Attributes:
        without_effect: Names of `WITHOUT_EFFECT` that are given.
    """

    port: int = _flag(8500, "TCP port of gRPC; 0: none")
    grpc_socket_path: str = _flag("", "also listen on a UNIX socket at this path")
    rest_api_port: int = _flag(0, "TCP port of HTTP/REST; 0: none")
    rest_api_timeout_in_ms: int = _flag(30_000, "time limit of a REST request")
    rest_api_num_threads: int = _flag(4 * CORES, "threads that run requests, shared with gRPC")
    model_name: str = _flag("default", "the model's name; ignored with --model_config_file")
    model_base_path: str = _flag("", "folder of versions; ignored with --model_config_file")
    model_config_file: str = _flag("", "text of a ModelServerConfig: several models")
    model_config_file_poll_wait_seconds: int = _flag(
        0, "interval of reading that file again; 0: never"
    )
    file_system_poll_wait_seconds: float = _flag(
        1, "interval of polling for versions; 0: only once"
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "labels may name versions that are not loaded"
    )
    saved_model_tags: str = _flag("serve", "comma-separated tags of the graph to load")
    num_load_threads: int = _flag(0, "threads that load and unload versions; 0: one")
    max_num_load_retries: int = _flag(5, "retries after a version failed to load")
    load_retry_interval_micros: int = _flag(60_000_000, "between these")
    enable_model_warmup: bool = _flag(True, "replay assets.extra/tf_serving_warmup_requests")
    num_request_iterations_for_warmup: int = _flag(1, "number of times that each is replayed")
    enable_batching: bool = _flag(False, "batch requests")
    batching_parameters_file: str = _flag("", "text of BatchingParameters")
    monitoring_config_file: str = _flag("", "text of a MonitoringConfig: Prometheus metrics")
    ssl_config_file: str = _flag("", "text of an SSLConfig, PEM contents: TLS for gRPC")
    grpc_channel_arguments: str = _flag("", "comma-separated name=value for the gRPC server")
    grpc_max_threads: int = _flag(4 * CORES, "threads that run requests, shared with REST")
    enable_grpc_healthcheck_service: bool = _flag(False, "grpc.health.v1.Health")
    enable_serialization_as_tensor_content: bool = _flag(False, "responses in tensor_content")
    enable_signature_method_name_check: bool = _flag(
        False, "Classify and Regress take signatures of that method only"
    )
    tensorflow_intra_op_parallelism: int = _flag(0, "threads of one operation; 0: all cores")
    tensorflow_inter_op_parallelism: int = _flag(0, "parallel operations; 0: all cores")
    tensorflow_session_parallelism: int = _flag(0, "sets both of these")
    host: str = _flag("localhost", "address to listen on; 0.0.0.0 opens it to the network")
    rest_api_max_body_mb: int = _flag(64, "longer REST requests are refused")
    rest_api_idle_timeout_in_ms: int = _flag(
        60_000, "REST connections without a request, or whose header does not end, are closed"
    )
    demo: bool = _flag(False, "a page to try the model, at the REST port's root")
    without_effect: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuses inconsistent flags.

        Raises:
            ValueError: with the flag and the cure.
        """
        if not (self.model_base_path or self.model_config_file):
            raise ValueError("give --model_base_path=DIR or --model_config_file=FILE")
        if not (self.port or self.rest_api_port or self.grpc_socket_path):
            raise ValueError(
                "no port to listen on: give --port, --rest_api_port or --grpc_socket_path"
            )
        if self.rest_api_idle_timeout_in_ms < 1:
            raise ValueError(
                f"--rest_api_idle_timeout_in_ms={self.rest_api_idle_timeout_in_ms} must be at "
                "least 1"
            )
        if self.port and self.port == self.rest_api_port:
            raise ValueError(f"--rest_api_port={self.port} is also --port: give another one")
        if self.demo and not self.rest_api_port:
            raise ValueError("--demo needs a port: --rest_api_port=8501")
        if self.monitoring_config_file and not self.rest_api_port:
            raise ValueError("--monitoring_config_file needs a port: --rest_api_port=8501")
        if self.batching_parameters_file and not self.enable_batching:
            raise ValueError("--batching_parameters_file needs --enable_batching")
        for pair in self.channel_arguments():
            if not pair[0]:
                raise ValueError(f"--grpc_channel_arguments={self.grpc_channel_arguments}")

    def notes(self) -> list[str]:
        """Notes for the user about the flags that are given."""
        notes = [f"--{name} has no effect in this server" for name in self.without_effect]
        if self.model_base_path and self.model_config_file:
            notes.append("--model_config_file is given: --model_base_path is ignored")
        return notes

    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """Arguments of gRPC channels; whole numbers are passed as int."""
        found = []
        for pair in filter(None, self.grpc_channel_arguments.split(",")):
            name, _, value = pair.partition("=")
            found.append((name, int(value) if value.lstrip("-").isdigit() else value))
        return found
