"""The demo's page, as a person uses it, in headless Chromium driven by chromedriver."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
import tensorflow as tf
from servers import answers, eventually, free_port, serving

from tfrec import pages
from tfrec.models.registry import MODELS
from tfrec.schema import DatasetInfo
from tfrec.serving import export, signatures

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Browser:
    """A few calls of the WebDriver protocol."""

    def __init__(self, port, profile):
        self.base = f"http://127.0.0.1:{port}/session"
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "acceptInsecureCerts": False}}
        self.base += "/" + self._send("POST", "", {"capabilities": wanted})["sessionId"]

    def _send(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self.base + path, data, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, url):
        self._send("POST", "/url", {"url": url})

    def run(self, script, *args):
        """The value of a script in the page."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(args)})

    def texts(self, selector):
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
        return self.run(script, selector)

    def _element(self, selector):
        found = {"using": "css selector", "value": selector}
        return next(iter(self._send("POST", "/element", found).values()))

    def click(self, selector):
        self._send("POST", f"/element/{self._element(selector)}/click", {})

    def type(self, selector, text):
        element = self._element(selector)
        self._send("POST", f"/element/{element}/clear", {})
        self._send("POST", f"/element/{element}/value", {"text": text})

    def quit(self):
        self._send("DELETE", "")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (shutil.which("chromedriver") and shutil.which("chromium")):
        pytest.skip("needs chromium and chromedriver")
    port = free_port()
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--silent"], stdout=subprocess.DEVNULL
    )
    try:
        eventually(lambda: answers(port))
        opened = Browser(port, tmp_path_factory.mktemp("profile"))
        try:
            yield opened
        finally:
            opened.quit()
    finally:
        driver.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(10)
        driver.kill()
        driver.wait()


@pytest.fixture(scope="module")
def demo(board, tmp_path_factory):
    """A server of models of histories, of known users and of likes, random weights."""
    folder = tmp_path_factory.mktemp("demo")
    models = {
        "films": ("autoencoder", False, {"hidden": (8,)}),
        "known": ("mf", False, {}),
        "likes": ("popularity", True, {}),
    }
    for name, (model, likes_only, settings) in models.items():
        tf.keras.utils.set_random_seed(5)
        data_dir, cls = board("user", likes_only)[0], MODELS[model]
        made = cls.create(DatasetInfo.load(data_dir), cls.Config(**settings))
        # Titles can hold what HTML would take for a tag.
        top = signatures.make(made, data_dir, 5, folder / "titles.txt")
        export.write(top, folder / name / "1")
        export.write_extras(top, folder / name / "1", folder / name / "1", {})
        titles = folder / name / "1/assets/titles.txt"
        text = titles.read_text()
        titles.write_text(text.replace("Film i7, The", "<b onclick=x>Amélie</b>"))
    listed = "".join(
        f"config {{name: '{n}' base_path: '{folder / n}' model_platform: 'tensorflow'}}"
        for n in models
    )
    (folder / "models.config").write_text(f"model_config_list {{{listed}}}")
    with serving(model_config_file=str(folder / "models.config"), demo=True) as server:
        yield server


@pytest.fixture
def page(browser, demo):
    """The page, freshly opened."""
    browser.open("about:blank")
    browser.open(f"http://{demo.rest}/")
    eventually(lambda: len(browser.texts("#top li")) == 5)
    return browser


def model_answer(demo, history):
    items, values = [item for item, _ in history], [value for _, value in history]
    body = json.dumps({"inputs": {"items": [items or [""]], "values": [values or [0]]}})
    return json.loads(demo.http("/v1/models/films:predict", body)[1])["outputs"]


def shown(page):
    return page.run("return [...document.querySelectorAll('#top li')].map(e => e.dataset.item)")


def test_recommendations_are_shown_at_first(page, demo):
    assert "films, version 1" in page.texts("#about")[0]
    assert shown(page) == model_answer(demo, [])["items"][0]
    assert len(page.texts("#found li")) == 40


def test_picking_and_rating_titles_changes_the_recommendations(page, demo):
    page.type("#search", "film i3")
    eventually(
        lambda: (
            "Film i3, The" in page.texts("#found button") and len(page.texts("#found button")) == 11
        )
    )
    page.click("#found button[data-item=i3]")
    due = model_answer(demo, [("i3", 5)])
    eventually(lambda: shown(page) == due["items"][0])
    assert page.texts("#liked .title") == ["Film i3, The"]
    assert "Film i3, The" not in page.texts("#found button")
    assert page.texts("#top .title") == due["titles"][0]
    eventually(lambda: page.texts("#top .why"))
    assert set(page.texts("#top .why")) == {"because of Film i3, The"}
    page.click("#liked .stars button:nth-child(1)")
    due = model_answer(demo, [("i3", 1)])
    scores = [f"{score:.3g}" for score in due["scores"][0]]
    eventually(lambda: [f"{float(s):.3g}" for s in page.texts("#top .score")] == scores)
    assert page.run("return document.querySelectorAll('#liked .on').length") == 1
    assert page.run("return location.hash") == "#i3:1"
    page.click("#liked .drop")
    eventually(lambda: shown(page) == model_answer(demo, [])["items"][0])
    assert page.texts("#liked li") == []


def test_the_address_keeps_the_chosen_titles(browser, demo):
    browser.open("about:blank")
    browser.open(f"http://{demo.rest}/#i3:2,i4:5,nothing:1")
    due = model_answer(demo, [("i3", 2), ("i4", 5)])
    eventually(lambda: shown(browser) == due["items"][0])
    assert browser.texts("#liked .title") == ["Film i3, The", "Film i4, The"]


def test_titles_are_text_and_accents_do_not_matter(page):
    page.type("#search", "AMELIE")
    eventually(lambda: page.texts("#found button") == ["<b onclick=x>Amélie</b>"])
    page.click("#found button")
    assert page.texts("#liked .title") == ["<b onclick=x>Amélie</b>"]
    assert page.run("return document.querySelectorAll('b').length") == 0


def choose(page, model):
    page.run(
        "const s = document.getElementById('model'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'))",
        model,
    )


def test_stars_are_for_models_that_read_ratings(page, demo):
    assert "ratings, from 1 to 5" in page.texts("#words")[0]
    choose(page, "likes")
    eventually(lambda: "likes" in page.texts("#about")[0] and len(page.texts("#top li")) == 5)
    assert "only have an order" in page.texts("#words")[0]
    page.type("#search", "film i3")
    eventually(lambda: len(page.texts("#found button")) == 11)
    page.click("#found button[data-item=i3]")
    eventually(lambda: page.texts("#liked .title") == ["Film i3, The"])
    assert page.run("return document.querySelectorAll('.stars').length") == 0
    eventually(lambda: shown(page) and "i3" not in shown(page))


def test_a_model_that_knows_users_asks_for_the_user(page, demo):
    choose(page, "known")
    eventually(lambda: page.run("return !document.getElementById('who').hidden"))
    assert page.run("return document.getElementById('pick').hidden")
    page.type("#user", "u7")
    eventually(lambda: "version 1" in page.texts("#about")[0] and page.texts("#took")[0])
    assert not page.run("return !document.getElementById('error').hidden")


def test_an_error_of_the_server_is_shown(page):
    page.run("model.name = 'stranger'; recommend()")
    eventually(lambda: page.texts("#error") == ["Servable not found for request: Latest(stranger)"])


def test_the_page_is_there_only_where_the_flag_is_set(demo, tmp_path):
    status, text = demo.http("/")
    assert status == 200
    assert "<title>tfrec: try the model</title>" in text
    assert demo.http("/demo/style.css") == (
        200,
        pathlib.Path(pages.__file__).with_name("style.css").read_text(),
    )
    assert demo.http("/demo/else")[0] == 404
    assert demo.http("/demo/titles.json?model=stranger")[0] == 404
