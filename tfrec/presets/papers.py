"""The settings of the papers, for any data: `--preset=sasrec-paper --dataset=ml-1m`.

Without a preset a model has its defaults, which are chosen to work across data sets.
"""

from tfrec.presets.entry import Preset

# Models whose defaults differ from the paper.
_MODELS = (
    "autorec", "sparsefc", "glocalk",
    "multvae", "multdae", "recvae", "cdae", "svae",
    "sasrec", "bert4rec", "gru4rec", "hstu",
    "mf", "fm", "deepfm", "dcn", "bertrating",
)  # fmt: skip

PRESETS: dict[str, Preset] = {f"{model}-paper": Preset(model) for model in _MODELS}
