"""The public API; `tfrec/__init__.py` names what it promises."""

import os

# Set before TensorFlow is imported: its notices would hide what a run prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
