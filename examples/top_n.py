"""Recommend a list: which films will a user like that he has not rated yet?"""

# %% Likes: ratings of 4 and more, users with at least five of them
import tfrec

data = tfrec.Dataset.load("ml-latest-small")
split = data.split("random", min_rating=4, min_user_ratings=5)

# %% EASE is solved in closed form: no epochs, one setting
run = tfrec.fit("ease", split, regularization=200.0)
print(run)

# %% Against the most popular items and implicit ALS: NDCG@100 with 95 % intervals
table = tfrec.compare(["popularity", "ials", run], split)
print(table)

# %% Recommendations from a history alone: Toy Story and Toy Story 2
print(run.recommend(histories=[["1", "3114"]], k=5))

# %% Rules: items that must not appear, or the only ones that may
print(run.recommend(histories=[["1", "3114"]], k=3, exclude=["4886"]))

# %% Items like an item, and lists for every user in a Parquet file
print(run.similar(["1"], k=5))
n_users = run.recommend_all("recommendations.parquet", k=10)
print(f"lists for {n_users} users are in recommendations.parquet")
