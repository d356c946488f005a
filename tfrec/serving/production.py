"""Files for the real `tensorflow/serving`: configurations, docker compose, Kubernetes."""

import json
import pathlib
import re
import string

from tfrec import aside

MODELS_IN_CONTAINER = "/models"
NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # goes into addresses and YAML as it is

MODEL = """\
  config {
    name: $name
    base_path: $path
    model_platform: "tensorflow"
    model_version_policy { latest { num_versions: 1 } }
  }
"""
BATCHING = """\
max_batch_size { value: $largest }
batch_timeout_micros { value: $timeout }
max_enqueued_batches { value: 100 }
num_batch_threads { value: $threads }
allowed_batch_sizes: [$sizes]
# Histories of several lengths in one batch; the graph ignores repeated ids.
pad_variable_length_inputs: true
"""
MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""
FLAGS = (  # the image itself sets the ports, 8500 and 8501
    "--model_config_file=/config/models.config",
    "--model_config_file_poll_wait_seconds=60",
    "--enable_batching=true",
    "--batching_parameters_file=/config/batching.config",
    "--monitoring_config_file=/config/monitoring.config",
    "--enable_grpc_healthcheck_service=true",
)
COMPOSE = """\
# docker compose up; then http://localhost:8501/v1/models/$first
services:
  serving:
    image: $image
    command:
$flags
    ports:
      - "8500:8500"
      - "8501:8501"
    volumes:
      - .:/config:ro
$volumes
    restart: unless-stopped
"""
KUBERNETES = """\
# kubectl apply -f kubernetes.yaml, once the claim "models" holds <model>/<version>/.
apiVersion: v1
kind: ConfigMap
metadata:
  name: tfrec-serving
data:
$config
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: tfrec-serving
spec:
  replicas: 2
  selector:
    matchLabels: {app: tfrec-serving}
  template:
    metadata:
      labels: {app: tfrec-serving}
    spec:
      containers:
        - name: serving
          image: $image
          args:
$flags
          ports:
            - {name: grpc, containerPort: 8500}
            - {name: http, containerPort: 8501}
          readinessProbe:
            httpGet: {path: /v1/models/$first, port: http}
            periodSeconds: 5
          livenessProbe:
            tcpSocket: {port: grpc}
            periodSeconds: 10
          resources:
            requests: {cpu: "1", memory: 1Gi}
          volumeMounts:
            - {name: config, mountPath: /config, readOnly: true}
            - {name: models, mountPath: /models, readOnly: true}
      volumes:
        - name: config
          configMap: {name: tfrec-serving}
        - name: models
          persistentVolumeClaim: {claimName: models, readOnly: true}
---
apiVersion: v1
kind: Service
metadata:
  name: tfrec-serving
spec:
  selector: {app: tfrec-serving}
  ports:
    - {name: grpc, port: 8500, targetPort: grpc}
    - {name: http, port: 8501, targetPort: http}
"""


def files(
    export_dirs: list[str], image: str, sizes: list[int], timeout_micros: int, threads: int
) -> dict[str, str]:
    """Name -> content.

    Args:
        export_dirs: Base paths of the models; their last parts are the names.
        image: The container image.
        sizes: Allowed batch sizes, increasing.
        timeout_micros: That a request waits for others.
        threads: That run batches.

    Raises:
        ValueError: no exports, names that clash, or sizes that are not increasing.
    """
    models = exports(export_dirs)
    if not sizes or sizes != sorted(set(sizes)) or sizes[0] < 1:
        raise ValueError(f"--batch_sizes={sizes} must be increasing numbers from 1 on")
    text = {
        "models.config": models_config(list(models)),
        "batching.config": string.Template(BATCHING).substitute(
            largest=sizes[-1],
            timeout=timeout_micros,
            threads=threads,
            sizes=", ".join(map(str, sizes)),
        ),
        "monitoring.config": MONITORING,
    }
    first = next(iter(models))
    return {
        **text,
        "docker-compose.yml": string.Template(COMPOSE).substitute(
            image=json.dumps(image), first=first, flags=_listed(FLAGS, 6), volumes=_volumes(models)
        ),
        "kubernetes.yaml": string.Template(KUBERNETES).substitute(
            image=json.dumps(image), first=first, flags=_listed(FLAGS, 12), config=_block(text)
        ),
    }


def exports(export_dirs: list[str]) -> dict[str, pathlib.Path]:
    """Name -> absolute base path.

    Raises:
        ValueError: names the folder and the cure.
    """
    found: dict[str, pathlib.Path] = {}
    for given in export_dirs:
        path = pathlib.Path(given).absolute()
        if not any(p.name.isdigit() and (p / "saved_model.pb").exists() for p in path.glob("*")):
            raise ValueError(f"--export_dir={given} holds no version: tfrec.export makes one")
        if path.name in found:
            raise ValueError(f"--export_dir={given}: a model {path.name!r} is there already")
        if not NAME.fullmatch(path.name):
            raise ValueError(
                f"--export_dir={given}: {path.name!r} is no name for an address; rename the "
                "folder to letters, digits, dashes and dots"
            )
        found[path.name] = path
    if not found:
        raise ValueError("--export_dir is missing: a model's export, one flag a model")
    return found


def models_config(names: list[str]) -> str:
    """models.config of models under /models."""
    listed = [
        string.Template(MODEL).substitute(
            name=json.dumps(name), path=json.dumps(f"{MODELS_IN_CONTAINER}/{name}")
        )
        for name in names
    ]
    return "model_config_list {\n" + "".join(listed) + "}\n"


def _listed(lines, indent: int) -> str:
    return "\n".join(f"{'':{indent}}- {json.dumps(line)}" for line in lines)


def _volumes(models: dict[str, pathlib.Path]) -> str:
    """Lines of the compose file; JSON strings are YAML strings."""
    # A dollar sign would be read as a variable.
    mounts = [
        f"{str(path).replace('$', '$$')}:{MODELS_IN_CONTAINER}/{name}:ro"
        for name, path in models.items()
    ]
    return _listed(mounts, 6)


def _block(text: dict[str, str]) -> str:
    """Files as literal blocks of a ConfigMap."""
    lines = []
    for name, content in text.items():
        lines.append(f"  {name}: |")
        lines += [f"    {line}".rstrip() for line in content.splitlines()]
    return "\n".join(lines)


def write(folder: str, content: dict[str, str], overwrite: bool) -> list[pathlib.Path]:
    """Writes each file aside, then renames it.

    Raises:
        ValueError: one is there already; nothing is written.
    """
    path = pathlib.Path(folder)
    there = [name for name in content if (path / name).exists()]
    if there and not overwrite:
        raise ValueError(f"{path} already holds {', '.join(there)}: --overwrite replaces them")
    path.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        with aside.file(path / name) as partial:
            partial.write_text(text)
    return [path / name for name in content]
