"""Published experiments by name: data, split, settings, and the number each should reach.

A name is MODEL-DATA-SPLIT. `tfrec.train --preset=NAME` reproduces one; flags given beside it
win over it. `measured` is what this package measured, with the command's own defaults.
"""

import dataclasses

from tfrec.config import DataConfig, known_names


@dataclasses.dataclass(frozen=True)
class Preset:
    """One experiment.

    Attributes:
        model: Registry key.
        data: How the data is prepared.
        settings: The model's settings that differ from its defaults.
        train: Training numbers that differ from the model's paper's.
        published: The number to reach, "" where there is none.
        source: Where it was published.
        measured: Our own number, with seeds and time; "not run" where it was not.
    """

    model: str
    data: DataConfig
    settings: dict = dataclasses.field(default_factory=dict)
    train: dict = dataclasses.field(default_factory=dict)
    published: str = ""
    source: str = ""
    measured: str = "not run"


@dataclasses.dataclass(frozen=True)
class Blend:
    """Presets on one split, trained one after the other and blended.

    Attributes:
        members: Names of presets.
        published: As of `Preset`.
        source: As of `Preset`.
        measured: As of `Preset`.
    """

    members: tuple[str, ...]
    published: str = ""
    source: str = ""
    measured: str = "not run"


AUTOREC = "Sedhain et al., WWW 2015, table 1"
SEED_0 = "YJiangcm/Movielens1M-Movie-Recommendation-System, README (fed the test ratings)"
SPARSEFC = "Muller et al., ICML 2018"
SACHDEVA = "Sachdeva et al., WSDM 2019, table 3"
METASPORE = "MetaSpore, MovieLens demo (README)"
MYFM = "myFM, examples (GitHub, tohtsky/myFM)"
LIANG = "Liang et al., WWW 2018, table 1"

ML100K_U1 = DataConfig(dataset="ml-100k", split="folds", fold="u1")
KNOWN = ("user", "item", "gender", "age", "occupation", "genres", "year")
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
# The papers used L-BFGS: validation RMSE of SparseFC .8933 at best, by Adam .8913, by Adam with
# half of the input dropped .8825.
ML100K_KERNEL = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "batch_size": 32,
    "epochs": 130,
    "decay_epochs": (50, 75, 100, 120),
    "patience": 25,
    "refit": True,
}
# Likes as MetaSpore's MovieLens demo has them: its last like or dislike of each user is test.
ML1M_LAST_CTR = DataConfig(dataset="ml-1m", split="last", drop_rating=3.0, label_above=3.0)
ML100K_CTR = DataConfig(dataset="ml-100k", label_above=3.0)
LONG_CTR = {
    "batch_size": 1024,
    "learning_rate": 1e-3,
    "epochs": 100,
    "patience": 5,
    "refit": True,
}
CTR = {"batch_size": 4096, "learning_rate": 2e-3, "monitor": "auc", "epochs": 30, "refit": True}
# The competition's measure but for its mean, which counts customers who add nothing, too.
SANTANDER = DataConfig(dataset="santander", split="month")
SYNTHETIC = "synthetic months (of benchmarks/santander.py, seed 0): "
MAP7 = {"monitor": "map@7", "cuts": (7, 24)}
# DeepRec's cuts of the Netflix Prize (its table 3): days of the training window, then the month
# after it, half of it validation.
NETFLIX = DataConfig(dataset="netflix", split="time", validation=0.5, test_since="2005-12-01")
DEEPREC = "Kuchaiev and Ginsburg 2017, table 4"

ML1M_LAST = DataConfig(
    dataset="ml-1m", split="last", core=True, min_user_ratings=5, min_item_ratings=5
)
KLENITSKIY = "Klenitskiy and Vasilev, RecSys 2023 (antklen/sasrec-bert4rec-recsys23)"

PRESETS: dict[str, Preset] = {
    "deeprec-latestsmall-random90": Preset(
        model="deeprec",
        data=DataConfig(),
        settings={"hidden": (128, 32), "dropout": 0.5, "last_activation": False},
        train={
            "epochs": 28,
            "batch_size": 32,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 3.0,
            "clip_norm": 1.0,
            "decay_epochs": (14, 18, 22, 25),
        },
        measured="RMSE .8966 test, .8914 validation (Biases .8698, .8692); seed 0; 43 s",
    ),
    "deeprec-ml1m-random90": Preset(
        model="deeprec",
        data=DataConfig(dataset="ml-1m"),
        settings={"hidden": (256, 64), "dropout": 0.5, "last_activation": False},
        train={
            "epochs": 60,
            "optimizer": "adam",
            "learning_rate": 5e-4,
            "clip_norm": 1.0,
            "decay_epochs": (30, 38, 46, 54),
            "refit": True,
        },
        published="RMSE .874 of U-AutoRec, to be beaten",
        source=AUTOREC,
        measured="RMSE .8545 test, .8572 validation; seed 0; 330 s",
    ),
    "autorec-ml1m-random90": Preset(
        model="autorec",
        data=DataConfig(dataset="ml-1m", rows="item"),
        settings={"regularization": 300.0},
        train={"iterations": 20, "epochs": 10, "patience": 2, "refit": True},
        published="RMSE .831",
        source=AUTOREC,
        measured="RMSE .8354 +- .0015 test, .8384 validation; seeds 0, 1, 2; 388 s a seed",
    ),
    "uautorec-ml1m-random90": Preset(
        model="autorec",
        data=DataConfig(dataset="ml-1m"),
        settings={"rows": "user", "hidden": (100,), "regularization": 300.0},
        train={
            "epochs": 21,
            "batch_size": 64,
            "optimizer": "adam",
            "learning_rate": 2e-3,
            "decay_epochs": (10, 13, 16, 19),
            "patience": 0,
            "refit": True,
        },
        published="RMSE .874",
        source=AUTOREC,
        measured="RMSE .8754 test, .8798 validation; seed 0; 59 s",
    ),
    "sparsefc-ml1m-random90": Preset(
        model="sparsefc",
        data=DataConfig(dataset="ml-1m", rows="item"),
        train={"iterations": 100, "epochs": 10, "patience": 2, "refit": True},
        published="RMSE .824",
        source=SPARSEFC,
        measured="RMSE .8294 test, .8332 validation; seed 0; 2,205 s on a busy machine",
    ),
    "sparsefc-ml100k-u1": Preset(
        model="sparsefc",
        data=DataConfig(dataset="ml-100k", rows="item", split="folds", fold="u1"),
        settings={
            "regularization": 14.0,
            "kernel_regularization": 0.006,
            "input_dropout": 0.5,
        },
        train=ML100K_KERNEL,
        published="RMSE .895",
        source=SPARSEFC,
        measured="RMSE .8972 test, .8825 validation; seed 0; 175 s",
    ),
    "glocalk-ml100k-u1": Preset(
        model="glocalk",
        data=DataConfig(dataset="ml-100k", rows="item", split="folds", fold="u1"),
        settings={"pretrain_epochs": 20, "kernel_scale": 2e-4},
        train={
            **ML100K_KERNEL,
            **{"batch_size": 64, "epochs": 60, "decay_epochs": (30, 40, 50), "patience": 12},
        },
        published="RMSE .8889 (best test epoch)",
        source="Han et al., CIKM 2021",
        measured="RMSE .9027 test, .8905 validation; seed 0; 106 s",
    ),
    "autorec-ml100k-u1": Preset(
        model="autorec",
        data=DataConfig(dataset="ml-100k", rows="item", split="folds", fold="u1"),
        settings={"regularization": 200.0},
        train={"iterations": 10, "patience": 3, "refit": True},
        measured="RMSE .9067 test, .8962 validation; seed 0; 67 s",
    ),
    "autorec-ml100k-random90": Preset(
        model="autorec",
        data=DataConfig(dataset="ml-100k", rows="item"),
        settings={"regularization": 200.0},
        train={"iterations": 10, "patience": 3, "refit": True},
        measured="RMSE .8840 test, .8946 validation; seed 0; 57 s",
    ),
    "autoencoder-ml1m-random75": Preset(
        model="autoencoder",
        data=DataConfig(dataset="ml-1m", test=0.25),
        settings={"hidden": (200, 100, 200), "dropout": 0.5},
        train={"epochs": 60, "batch_size": 64, "patience": 8, "refit": True},
        published="RMSE .949",
        source="longday1102/RS-AutoEncoder, README",
        measured="RMSE .8740 test, .8826 validation; seed 0; 170 s",
    ),
    "autoencoder-ml1m-random80": Preset(
        model="autoencoder",
        data=DataConfig(dataset="ml-1m", test=0.2),
        settings={"hidden": (200, 100, 200), "dropout": 0.5},
        train={"epochs": 60, "batch_size": 64, "patience": 8, "refit": True},
        published="RMSE 1.0837",
        source=SEED_0,
        measured="RMSE .8740 test, .8770 validation; seed 0; 279 s",
    ),
    "vae-ml1m-random80": Preset(
        model="vae",
        data=DataConfig(dataset="ml-1m", test=0.2),
        settings={
            "hidden": (300,),
            "latent": 64,
            "input_dropout": 0.3,
            "total_anneal_steps": 1000,
        },
        train={
            "epochs": 22,
            "batch_size": 64,
            "decay_epochs": (8, 11, 14, 17),
            "patience": 0,
            "refit": True,
        },
        published="RMSE .9956",
        source=SEED_0,
        measured="RMSE .8720 test, .8809 validation; seed 0; 155 s",
    ),
    "mf-ml100k-random90": Preset(
        model="mf",
        data=DataConfig(dataset="ml-100k"),
        settings={"latent": 32, "regularization": 0.08, "implicit": True, "deviation": 0.05},
        train={
            "epochs": 40,
            "batch_size": 512,
            "learning_rate": 2e-3,
            "patience": 4,
            "refit": True,
        },
        published="RMSE .911 (biased MF)",
        source="Dziugaite and Roy, 2015, table 1",
        measured="RMSE .8929 test, .9027 validation; seed 0; 42 s",
    ),
    "mf-ml1m-random90": Preset(
        model="mf",
        data=DataConfig(dataset="ml-1m"),
        settings={"latent": 64, "regularization": 0.05, "deviation": 0.05},
        train={
            "epochs": 40,
            "batch_size": 4096,
            "learning_rate": 2e-3,
            "patience": 3,
            "refit": True,
        },
        published="RMSE .845 (biased MF)",
        source=AUTOREC,
        measured="RMSE .8455 test, .8479 validation; seed 0; 59 s",
    ),
    "bayesianfm-ml100k-u1": Preset(
        model="bayesianfm",
        data=ML100K_U1,
        settings={"fields": KNOWN, "session": 3600, "latent": 16, "samples": 300},
        train={"refit": True},
        published="RMSE .8833 (myFM, regression)",
        source=MYFM,
        measured="RMSE .8781 test, .8691 validation; seed 0; 55 CPU s",
    ),
    "bayesianfm-ml1m-random90": Preset(
        model="bayesianfm",
        data=DataConfig(dataset="ml-1m"),
        settings={
            **{"fields": KNOWN, "session": 3600, "latent": 32},
            **{"burn_in": 80, "samples": 100, "thin": 3},
        },
        train={"refit": True},
        published="RMSE .8161 (myFM, regression)",
        source=MYFM,
    ),
    "deepfm-ml1m-lastctr": Preset(
        model="deepfm",
        data=ML1M_LAST_CTR,
        settings={
            **{"fields": ("user", "item"), "latent": 16, "regularization": 0.002},
            **{"hidden": (128, 64), "deviation": 0.05},
        },
        train=CTR,
        published="AUC .8658",
        source=METASPORE,
        measured="AUC .8680 test, .8754 validation (with side tables .8784, .8806); seed 0; 56 s",
    ),
    "dcn-ml1m-lastctr": Preset(
        model="dcn",
        data=ML1M_LAST_CTR,
        settings={
            **{"fields": ("user", "item"), "latent": 32, "regularization": 0.001},
            **{"depth": 2, "hidden": (128, 64), "dropout": 0.3, "deviation": 0.05},
        },
        train=CTR,
        published="AUC .8746 (DCN; DCN-v2 .8611)",
        source=METASPORE,
        measured="AUC .8701 test, .8778 validation; seed 0; 79 s",
    ),
    "fm-ml1m-lastctr": Preset(
        model="fm",
        data=ML1M_LAST_CTR,
        settings={
            **{"task": "ctr", "fields": ("user", "item"), "latent": 32},
            **{"regularization": 0.005, "deviation": 0.05},
        },
        train=CTR,
        published="AUC .8672 (FFM)",
        source=METASPORE,
        measured="AUC .8834 test, .8834 validation; seed 0; 33 s",
    ),
    "fm-ml100k-ctr": Preset(
        model="fm",
        data=ML100K_CTR,
        settings={
            **{"task": "ctr", "fields": ("user", "item"), "latent": 64},
            **{"regularization": 0.015, "deviation": 0.02},
        },
        train=LONG_CTR,
        measured="AUC .7940, log-loss .5432 test; .7926, .5454 validation; seed 0; 22 s",
    ),
    "deepfm-ml100k-ctr": Preset(
        model="deepfm",
        data=ML100K_CTR,
        settings={
            **{"fields": ("user", "item"), "latent": 64, "regularization": 0.02},
            **{"hidden": (64,), "dropout": 0.2, "l2": 0.006, "deviation": 0.02},
        },
        train=LONG_CTR,
        measured="AUC .7954, log-loss .5409 test; .7910, .5458 validation; seed 0; 101 s",
    ),
    "bertrating-ml1m-random80": Preset(
        model="bertrating",
        data=DataConfig(dataset="ml-1m", test=0.2),
        settings={"regularization": 0.001},
        train={
            "epochs": 15,
            "batch_size": 4096,
            "learning_rate": 2e-3,
            "patience": 2,
            "refit": True,
        },
        published="RMSE .8664 (epoch chosen on test)",
        source=SEED_0,
        measured="RMSE .8585 test, .8655 validation (title=none .8580, .8625); seed 0; 2,015 s",
    ),
    "autoencoder-latestsmall-time98": Preset(
        model="autoencoder",
        data=DataConfig(split="time", test=0.02, validation=1.0),
        settings={"hidden": (512, 512, 1024, 512, 512), "activation": "relu"},
        train={"epochs": 40, "batch_size": 128, "patience": 0},
        measured="RMSE .7900 on the 188 validation ratings (Biases .7437); seed 0; 46 s",
    ),
    "ease-ml1m-users": Preset(
        model="ease",
        data=ML1M_USERS,
        measured="NDCG@100 .4283 test, .4243 validation (Popularity .2169, .2134); 13 s",
    ),
    "multvae-ml1m-users": Preset(
        model="multvae",
        data=ML1M_USERS,
        settings={"dropout": 0.7, "total_anneal_steps": 8000},
        train={"epochs": 80, "batch_size": 100, "patience": 15},
        published="NDCG@100 .3979 (random fold-in), .2301 (fold_in=time)",
        source=SACHDEVA,
        measured="NDCG@100 .4063 +- .0003 test, .3987 validation; seeds 0, 1, 2; 660 s",
    ),
    "multdae-ml1m-users": Preset(
        model="multdae",
        data=ML1M_USERS,
        train={"epochs": 60, "batch_size": 100, "patience": 15},
        measured="NDCG@100 .4233 +- .0025 test, .4135 validation; seeds 0, 1, 2; 193 s",
    ),
    "cdae-ml1m-users": Preset(
        model="cdae",
        data=ML1M_USERS,
        settings={"latent": 200, "regularization": 1.0},
        train={"epochs": 60, "optimizer": "adam", "learning_rate": 2e-3, "patience": 10},
        measured="NDCG@100 .4181 test, .4047 validation; seed 0; 546 s on a busy machine",
    ),
    "recvae-ml1m-users": Preset(
        model="recvae",
        data=ML1M_USERS,
        train={"epochs": 50, "batch_size": 250, "patience": 8},
        measured="NDCG@100 .4343 test, .4216 validation; seed 0; 1,557 s, suspended meanwhile",
    ),
    "weightedease-ml1m-users": Preset(
        model="weightedease",
        data=ML1M_USERS,
        measured="NDCG@100 .4449 test, .4386 validation; 27 s",
    ),
    "easevae-ml1m-users": Preset(
        model="easevae",
        data=ML1M_USERS,
        train={"epochs": 50, "batch_size": 250, "patience": 8},
        measured="NDCG@100 .4520 test, .4464 validation (EASE .4283, .4243); seed 0; 383 s",
    ),
    "popularity-ml1m-users": Preset(
        model="popularity",
        data=ML1M_USERS,
        measured="NDCG@100 .2169 test, .2134 validation; 8 s",
    ),
    "svae-ml1m-usertime": Preset(
        model="svae",
        data=dataclasses.replace(ML1M_USERS, fold_in="time"),
        settings={"window": 100, "dropout": 0.2},
        train={
            "epochs": 14,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "decay_epochs": (6, 8, 10, 12),
            "patience": 3,
        },
        published="NDCG@100 .2993, Recall@100 .4909",
        source=SACHDEVA,
        measured="NDCG@100 .3230, Recall@100 .5136 test; .3204, .5150 validation; seed 0; 1,590 s",
    ),
    "multdae-santander-month": Preset(
        model="multdae",
        data=SANTANDER,
        settings={"hidden": (64,)},
        train={"epochs": 40, "batch_size": 500, "patience": 8, **MAP7},
        measured="not run on the real file; " + SYNTHETIC + "MAP@7 .3986 test, .4108 validation",
    ),
    "multvae-santander-month": Preset(
        model="multvae",
        data=SANTANDER,
        settings={"hidden": (64,), "latent": 16},
        train={"epochs": 40, "batch_size": 500, "patience": 8, **MAP7},
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
    "deeprec-netflix-time3m": Preset(
        model="deeprec",
        data=dataclasses.replace(NETFLIX, since="2005-09-01", until="2006-01-01"),
        settings={"hidden": (128, 256, 256), "dropout": 0.65},
        published="RMSE .9373",
        source=DEEPREC,
    ),
    "deeprec-netflix-time6m": Preset(
        model="deeprec",
        data=dataclasses.replace(NETFLIX, since="2005-06-01", until="2006-01-01"),
        settings={"hidden": (256, 256, 512), "dropout": 0.8},
        published="RMSE .9207",
        source=DEEPREC,
    ),
    "deeprec-netflix-time1y": Preset(
        model="deeprec",
        data=dataclasses.replace(
            NETFLIX, since="2004-06-01", test_since="2005-06-01", until="2005-07-01"
        ),
        settings={"hidden": (256, 256, 512), "dropout": 0.8},
        published="RMSE .9225",
        source=DEEPREC,
    ),
    "deeprec-netflix-timefull": Preset(
        model="deeprec",
        data=dataclasses.replace(NETFLIX, since="1999-12-01", until="2006-01-01"),
        settings={"hidden": (512, 512, 1024), "dropout": 0.8},
        published="RMSE .9099",
        source=DEEPREC,
    ),
    "bert4rec-ml1m-last": Preset(
        model="bert4rec",
        data=ML1M_LAST,
        settings={"attention_dropout": 0.0, "dropout": 0.1, "mask": 0.3},
        train={
            **{"optimizer": "adam", "weight_decay": 0.0, "learning_rate": 1e-3},
            **{"epochs": 70, "batch_size": 64, "decay_epochs": (52, 57, 62, 66)},
            "monitor": "ndcg@10",
        },
        published="HR@10 .2843, NDCG@10 .1537",
        source=KLENITSKIY,
        measured="HR@10 .2863, NDCG@10 .1599 test; .3035, .1662 validation; seed 0; 36 CPU min",
    ),
    "sasrec-ml1m-last": Preset(
        model="sasrec",
        data=ML1M_LAST,
        settings={
            **{"loss": "sampled", "negatives": 1000, "width": 128},
            **{"attention_dropout": 0.0, "dropout": 0.1},
        },
        train={
            **{"epochs": 24, "batch_size": 64, "decay_epochs": (14, 17, 20, 22)},
            **{"monitor": "ndcg@10", "refit": True},
        },
        published="HR@10 .3159, NDCG@10 .1857 (3,000 negatives)",
        source=KLENITSKIY,
        measured="HR@10 .3028, NDCG@10 .1738 test; .3219, .1818 validation; seed 0; 2,949 s",
    ),
    "gru4rec-ml1m-last": Preset(
        model="gru4rec",
        data=ML1M_LAST,
        settings={
            **{"loss": "sampled", "negatives": 1000, "width": 128},
            **{"recurrent": (256,), "dropout": 0.2},
        },
        train={
            **{"epochs": 14, "batch_size": 64, "learning_rate": 2e-3},
            **{"decay_epochs": (8, 10, 12), "monitor": "ndcg@10"},
        },
    ),
    "multvae-ml20m-users": Preset(
        model="multvae",
        data=ML20M_USERS,
        published="Recall@20 .395, Recall@50 .537, NDCG@100 .426",
        source=LIANG,
    ),
}


BLENDS: dict[str, Blend] = {
    "best-ml100k-u1": Blend(
        members=("bayesianfm-ml100k-u1", "autorec-ml100k-u1"),
        published="RMSE .8808 (myFM, ordered probit)",
        source=MYFM,
        measured="RMSE .8754 test, .8653 validation (its weights were fitted there); seed 0; 104 s",
    ),
    "best-ml1m-random90": Blend(
        members=("bayesianfm-ml1m-random90", "autorec-ml1m-random90"),
        published="RMSE .8140 (myFM, ordered probit)",
        source=MYFM,
    ),
}


def preset(name: str) -> Preset:
    """The preset of `--preset=name`.

    Raises:
        ValueError: no such preset, or a blend; lists the known ones.
    """
    if name not in PRESETS:
        known = [*PRESETS, *BLENDS]
        raise ValueError(f"--preset={name!r} is unknown; " + known_names(name, known))
    return PRESETS[name]


def table() -> str:
    """All presets as text, for `--list_presets`."""
    lines = []
    for name, p in (PRESETS | BLENDS).items():
        goal = f"{p.published} ({p.source})" if p.published else "none"
        lines.append(f"{name}\n    published: {goal}\n    measured:  {p.measured}")
    return "\n".join(lines)
