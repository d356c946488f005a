"""Presets of top-N recommendation (`task=ranking`)."""

import dataclasses

from tfrec.config import DataConfig
from tfrec.presets.entry import Preset

SACHDEVA = "Sachdeva et al., WSDM 2019, table 3: by another evaluation (Popularity .1130 on time)"
LIANG = "Liang et al., WWW 2018, table 1"
ML1M_USERS = DataConfig(
    dataset="ml-1m",
    split="users",
    min_rating=4.0,
    min_user_ratings=5,
    test=750,
    validation=750,
    seed=98765,
)
ML20M_USERS = dataclasses.replace(ML1M_USERS, dataset="ml-20m", test=10_000, validation=10_000)
# The competition's MAP@7, whose mean also counts customers who add nothing.
SANTANDER = DataConfig(dataset="santander", split="month")
SYNTHETIC = "synthetic months (of benchmarks/santander.py, seed 0): "
MAP7 = dict(monitor="map@7", cuts=(7, 24))

PRESETS: dict[str, Preset] = {
    "ease-ml1m-users": Preset(
        model="ease",
        data=ML1M_USERS,
        measured="NDCG@100 .4283 test, .4243 validation (Popularity .2169, .2134); 13 s",
    ),
    "multvae-ml1m-users": Preset(
        model="multvae",
        data=ML1M_USERS,
        settings=dict(dropout=0.7, total_anneal_steps=8000),
        train=dict(epochs=80, batch_size=100, patience=15),
        published="NDCG@100 .3979 (random fold-in), .2301 (fold_in=time)",
        source=SACHDEVA,
        measured="NDCG@100 .4063 +- .0003 test, .3987 validation; seeds 0, 1, 2; 660 s",
    ),
    "multdae-ml1m-users": Preset(
        model="multdae",
        data=ML1M_USERS,
        train=dict(epochs=60, batch_size=100, patience=15),
        measured="NDCG@100 .4233 +- .0025 test, .4135 validation; seeds 0, 1, 2; 193 s",
    ),
    "cdae-ml1m-users": Preset(
        model="cdae",
        data=ML1M_USERS,
        settings=dict(latent=200, regularization=1.0),
        train=dict(epochs=60, optimizer="adam", learning_rate=2e-3, patience=10),
        measured="NDCG@100 .4151 +- .0028 test, .4040 +- .0008 validation; seeds 0, 1, 2; 228 s",
    ),
    "recvae-ml1m-users": Preset(
        model="recvae",
        data=ML1M_USERS,
        train=dict(epochs=50, batch_size=250, patience=8),
        measured="NDCG@100 .4343 test, .4216 validation; seed 0; 1,557 s, suspended meanwhile",
    ),
    "weightedease-ml1m-users": Preset(
        model="weightedease",
        data=ML1M_USERS,
        measured="NDCG@100 .4449 test, .4386 validation; 27 s",
    ),
    "ials-ml1m-users": Preset(
        model="ials",
        data=ML1M_USERS,
        measured="NDCG@100 .4402 +- .0008 test, .4345 +- .0012 validation; seeds 0, 1, 2; 16 CPU s",
    ),
    "easevae-ml1m-users": Preset(
        model="easevae",
        data=ML1M_USERS,
        train=dict(epochs=50, batch_size=250, patience=8),
        measured="NDCG@100 .4514 +- .0008 test, .4464 validation; seeds 0, 1, 2; 238 s",
    ),
    "popularity-ml1m-users": Preset(
        model="popularity",
        data=ML1M_USERS,
        measured="NDCG@100 .2169 test, .2134 validation; 8 s",
    ),
    "svae-ml1m-usertime": Preset(
        model="svae",
        data=dataclasses.replace(ML1M_USERS, fold_in="time"),
        settings=dict(window=100, dropout=0.2),
        train=dict(
            epochs=14, batch_size=16, learning_rate=2e-3, decay_epochs=(6, 8, 10, 12), patience=3
        ),
        published="NDCG@100 .2993, Recall@100 .4909",
        source=SACHDEVA,
        measured="NDCG@100 .3230, Recall@100 .5136 test; .3204, .5150 validation; seed 0; 1,590 s",
    ),
    "multdae-santander-month": Preset(
        model="multdae",
        data=SANTANDER,
        settings=dict(hidden=(64,)),
        train=dict(epochs=40, batch_size=500, patience=8, **MAP7),
        measured="not run on the real file; " + SYNTHETIC + "MAP@7 .3986 test, .4108 validation",
    ),
    "multvae-santander-month": Preset(
        model="multvae",
        data=SANTANDER,
        settings=dict(hidden=(64,), latent=16),
        train=dict(epochs=40, batch_size=500, patience=8, **MAP7),
        measured="not run on the real file; " + SYNTHETIC + "MAP@7 .4177 test, .4420 validation",
    ),
    "ease-santander-month": Preset(
        model="ease",
        data=SANTANDER,
        train=MAP7,
        measured="not run on the real file; " + SYNTHETIC + "MAP@7 .4468 test, .4672 validation",
    ),
    "popularity-santander-month": Preset(
        model="popularity",
        data=SANTANDER,
        train=MAP7,
        measured="not run on the real file; " + SYNTHETIC + "MAP@7 .2106 test, .1985 validation",
    ),
    "multvae-ml20m-users": Preset(
        model="multvae",
        data=ML20M_USERS,
        published="Recall@20 .395, Recall@50 .537, NDCG@100 .426",
        source=LIANG,
    ),
}
