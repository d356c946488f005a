"""Predict the next item of a sequence: self-attention over the user's history (SASRec)."""

# %% Test is the last rating of each user, validation the one before it
import tfrec

data = tfrec.Dataset.load("ml-latest-small")
split = data.split("last", min_user_ratings=5, min_item_ratings=5)

# %% A small model: 32 dimensions per item, one block
run = tfrec.fit("sasrec", split, width=32, blocks=1, heads=1, epochs=10, batch_size=32)
print(run)

# %% Loss and validation metric by epoch
print(run.history[["epoch", "loss", "val_ndcg@10"]])

# %% All unseen items are ranked; the baseline is popularity
print(tfrec.compare(["popularity", run], split, metrics=["ndcg@10", "hr@10"]))

# %% The order of a history matters: the newest item is the last one
print(run.recommend(histories=[["1", "3114", "78499"], ["78499", "3114", "1"]], k=3))
