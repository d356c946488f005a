"""Recommend a list: which films that a user has not rated yet will the user like?"""

# %% Likes: ratings of at least 4, users with at least five of them
import tfrec

data = tfrec.Dataset.load("ml-latest-small")
split = data.split("random", min_rating=4, min_user_ratings=5)

# %% EASE is solved in closed form: no epochs, one setting
run = tfrec.fit("ease", split, regularization=200.0)
print(run)

# %% Compared with the most popular items and implicit ALS: NDCG@100 with 95 % intervals
table = tfrec.compare(["popularity", "ials", run], split)
print(table)

# %% Recommendations from a history alone: Toy Story and Toy Story 2
print(run.recommend(histories=[["1", "3114"]], k=5))

# %% Filters: items to leave out, or the only ones allowed
print(run.recommend(histories=[["1", "3114"]], k=3, exclude=["4886"]))

# %% Similar items, and lists for all users in a Parquet file
print(run.similar(["1"], k=5))
n_users = run.recommend_all("recommendations.parquet", k=10)
print(f"lists for {n_users} users are in recommendations.parquet")
