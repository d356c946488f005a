"""Small infos and batches for the tests of metrics."""

import numpy as np

from tfrec.schema import DatasetInfo


def make_info(n_users, n_items, rows="user"):
    return DatasetInfo("toy", "toy split", rows, n_users, n_items, n_ratings={"test": 1})


def features(users, items=None):
    items = np.full([len(users), 1], -1) if items is None else items
    return {"user": np.asarray(users), "items": np.asarray(items)}


def ranked(report, top, targets, users=None, items=None):
    users = range(len(top)) if users is None else users
    report.update(features(users, items), {"target_items": np.asarray(targets)}, np.asarray(top))
    return report


def rated(report, scores, target_items, target_values, users=None, items=None):
    users = range(len(scores)) if users is None else users
    targets = {
        "target_items": np.asarray(target_items),
        "target_values": np.asarray(target_values, "float32"),
    }
    report.update(features(users, items), targets, np.asarray(scores, "float32"))
    return report
