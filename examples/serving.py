"""Serve a model: export it, start the local server, send requests over REST and gRPC."""

# %% A model that scores histories, so that it also answers new users
import atexit
import json
import subprocess
import sys
import time
import urllib.request

import tfrec
from tfrec.serving.client import Client

data = tfrec.Dataset.load("ml-latest-small")
run = tfrec.fit("ials", data.split("random", min_rating=4, min_user_ratings=5))

# %% A version is published after a fresh process has loaded it and given the model's answers
version = run.export("saved_models/films", k=20)
print(f"exported: {version}")

# %% `python -m tfrec.serve` accepts the flags of tensorflow_model_server
flags = ["--model_name=films", "--model_base_path=saved_models/films"]
ports = ["--port=8500", "--rest_api_port=8501"]
server = subprocess.Popen([sys.executable, "-m", "tfrec.serve", *flags, *ports])
atexit.register(server.terminate)
url = "http://localhost:8501/v1/models/films"
while server.poll() is None:  # the port opens when the model is loaded
    try:
        urllib.request.urlopen(url).close()
        break
    except OSError:
        time.sleep(0.5)

# %% REST: raw ids in, raw ids and titles out
body = {"inputs": {"items": [["1", "3114"]], "values": [[5.0, 4.0]]}}
request = urllib.request.Request(f"{url}:predict", json.dumps(body).encode())
with urllib.request.urlopen(request) as answer:
    print(json.load(answer)["outputs"]["titles"][0][:3])

# %% gRPC, with the client, which needs no TensorFlow
with Client("localhost:8500", "films") as client:
    for found in client.recommend([{"1": 5.0, "3114": 4.0}], k=3)[0]:
        print(found.item, found.title)

# %% The same methods as those of a run, on the running server
print(tfrec.Served("localhost:8500", model="films").recommend(histories=[["1", "3114"]], k=3))

# %%
server.terminate()
server.wait()
