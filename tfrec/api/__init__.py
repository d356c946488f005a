"""The public API; `tfrec/__init__.py` lists what is promised to stay."""

import os

# Set before TensorFlow is imported: its log messages would hide the output of a run.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
