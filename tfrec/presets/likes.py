"""Presets of like prediction (`task=ctr`), evaluated by AUC and log-loss."""

from tfrec.config import DataConfig
from tfrec.presets.entry import Preset

# Test is the last like or dislike of each user: 6,040 rows. MetaSpore's MovieLens demo takes the
# last rating first and then drops those of 3, 4,627 rows: its results are for another test set.
ML1M_LAST_CTR = DataConfig(dataset="ml-1m", split="last", drop_rating=3.0, label_above=3.0)
IDS = ("user", "item")
ML100K_CTR = DataConfig(dataset="ml-100k", label_above=3.0)
LONG_CTR = dict(batch_size=1024, learning_rate=1e-3, epochs=100, patience=5, refit=True)
CTR = dict(batch_size=4096, learning_rate=2e-3, monitor="auc", epochs=30, refit=True)

PRESETS: dict[str, Preset] = {
    "deepfm-ml1m-lastctr": Preset(
        model="deepfm",
        data=ML1M_LAST_CTR,
        settings=dict(
            fields=IDS, latent=16, regularization=0.002, hidden=(128, 64), deviation=0.05
        ),
        train=CTR,
        measured={"test": {"auc": 0.8682}, "validation": {"auc": 0.8749}},
    ),
    "dcn-ml1m-lastctr": Preset(
        model="dcn",
        data=ML1M_LAST_CTR,
        settings=dict(
            fields=IDS,
            latent=32,
            regularization=0.001,
            depth=2,
            hidden=(128, 64),
            dropout=0.3,
            deviation=0.05,
        ),
        train=CTR,
        measured={"test": {"auc": 0.871}, "validation": {"auc": 0.8779}},
    ),
    "fm-ml1m-lastctr": Preset(
        model="fm",
        data=ML1M_LAST_CTR,
        settings=dict(task="ctr", fields=IDS, latent=32, regularization=0.005, deviation=0.05),
        train=CTR,
        measured={"test": {"auc": 0.8834}, "validation": {"auc": 0.8834}},
    ),
    "fm-ml100k-ctr": Preset(
        model="fm",
        data=ML100K_CTR,
        settings=dict(task="ctr", fields=IDS, latent=64, regularization=0.015, deviation=0.02),
        train=LONG_CTR,
        measured={
            "test": {"auc": 0.794, "logloss": 0.5432},
            "validation": {"auc": 0.7926, "logloss": 0.5454},
        },
    ),
    "deepfm-ml100k-ctr": Preset(
        model="deepfm",
        data=ML100K_CTR,
        settings=dict(
            fields=IDS,
            latent=64,
            regularization=0.02,
            hidden=(64,),
            dropout=0.2,
            l2=0.006,
            deviation=0.02,
        ),
        train=LONG_CTR,
        measured={
            "test": {"auc": 0.7954, "logloss": 0.5409},
            "validation": {"auc": 0.7913, "logloss": 0.5456},
        },
    ),
}
