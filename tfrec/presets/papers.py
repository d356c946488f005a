"""The settings of the papers, for any data: `--preset=sasrec-paper --dataset=ml-1m`.

Without a preset a model has its defaults, which are chosen to work across data sets.
"""

from tfrec.presets.entry import Preset

# Models whose defaults differ from the paper.
_MODELS = (
    "autorec", "sparsefc", "glocalk",
    "multvae", "multdae", "recvae", "cdae", "svae",
    "sasrec", "esasrec", "bert4rec", "gru4rec", "hstu", "fuxi",
    "mf", "fm", "deepfm", "dcn", "bertrating",
)  # fmt: skip

# What their authors' code has besides the paper's settings that presets of data sets start from.
# BERT4Rec's has 400,000 steps, of which the linear decline takes all; here it ends with the epochs.
# SASRec's and HSTU's have no decay of weights; HSTU's AdamW is then Adam.
_TRAIN: dict[str, dict] = {
    "bert4rec": {"epsilon": 1e-6, "schedule": "linear", "warmup_steps": 100},
    "sasrec": {"beta_2": 0.98, "epsilon": 1e-8},
    "hstu": {"beta_2": 0.98, "epsilon": 1e-8},
}

PRESETS: dict[str, Preset] = {
    f"{model}-paper": Preset(model, train=_TRAIN.get(model, {})) for model in _MODELS
}
