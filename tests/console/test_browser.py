"""The whole path in a browser, as a person would take it.

With ROWCAST_SCREENSHOTS naming a folder, the pictures of the documents are taken on the way.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

import rowcast
from tests.test_serve import serve, until_ready

from .test_pages import ATTACKS

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("nicegui", reason="the console needs the extra rowcast[console]")
CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser")) if p), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PICTURES = os.environ.get("ROWCAST_SCREENSHOTS")
HIT = "() => window.hit === undefined"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(300),
]


def customers(rows, seed):
    rng = np.random.default_rng(seed)
    age, months = rng.integers(18, 80, rows), rng.integers(1, 72, rows)
    calls = rng.poisson(1.5, rows)
    job = rng.choice(["nurse", "cook", "clerk", "driver"], rows)
    score = (age - 45) / 15 - months / 30 + calls * 0.7 + (job == "driver")
    churn = np.where(score + rng.normal(0, 0.8, rows) > 0, "yes", "no")
    return pa.table({"age": age, "job": job, "months": months, "calls": calls, "churn": churn})


def with_faults(path, rows):
    """Write customers of whom one in fifty has an age that cannot be read."""
    pc.write_csv(customers(rows, 2).drop_columns(["churn"]), path)
    lines = path.read_text().splitlines()
    for place in range(25, len(lines), 50):
        lines[place] = "unknown" + lines[place][lines[place].index(",") :]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = tmp_path_factory.mktemp("browser")
    (made / "buckets" / "large").mkdir(parents=True)
    pc.write_csv(customers(400_000, 3), made / "buckets" / "large" / "large.csv")
    return made


@pytest.fixture(scope="module")
def url(home):
    process = serve(home, "--port", "0")
    yield until_ready(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def context(url):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        made = browser.new_context(viewport={"width": 1280, "height": 800})
        made.set_default_timeout(60_000)
        yield made
        browser.close()


@pytest.fixture(scope="module")
def page(context, url):
    """A page that notes what it must not do."""
    made = context.new_page()
    made.wrong = []
    own = re.sub("^http", "(http|ws)", re.escape(url))

    def request(asked):
        if not re.match(f"{own}/|data:|blob:", asked.url):
            made.wrong.append(asked.url)

    made.on("request", request)
    made.on("pageerror", lambda error: made.wrong.append(str(error)))
    made.on(
        "console",
        lambda said: made.wrong.append(said.text) if said.type == "error" else None,
    )
    return made


def picture(page, name, *, whole=True):
    if PICTURES:
        page.wait_for_timeout(700)
        page.mouse.move(0, 0)
        page.evaluate("window.scrollTo(0, 0); document.activeElement.blur()")
        page.screenshot(path=Path(PICTURES, f"{name}.png"), full_page=whole)


def choose(page, label, option):
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_person_finds_the_way_and_no_stored_script_does(page, home, url, tmp_path):
    """One test, because each part stands on what the one before has left."""
    go_the_whole_path(page, home, url, tmp_path)
    look_on_a_phone_in_the_dark(page, url)
    look_at_what_is_meant_ill(page, home, url)


def go_the_whole_path(page, home, url, tmp_path):
    expect = playwright.expect
    expect.set_options(timeout=60_000)
    pc.write_csv(customers(2000, 1), tmp_path / "customers.csv")
    with_faults(tmp_path / "october.csv", 3000)

    page.goto(url)
    picture(page, "console-login")
    page.get_by_label("Access token").fill((home / "token").read_text().strip())
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    # Bring data
    page.get_by_role("link", name="Data", exact=True).click()
    page.get_by_label("Name", exact=True).fill("demo")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("heading", name="demo")).to_be_visible()
    page.locator("input[type=file]").set_input_files(
        [tmp_path / "customers.csv", tmp_path / "october.csv"]
    )
    page.get_by_role("link", name="october.csv").wait_for()
    sent = (home / "buckets" / "demo" / "october.csv").read_bytes()
    assert sent == (tmp_path / "october.csv").read_bytes()
    page.get_by_role("link", name="customers.csv").click()
    expect(page.get_by_role("region", name="First rows")).to_be_visible()
    picture(page, "console-data")

    # Train
    page.get_by_role("link", name="Train on it").click()
    expect(page.get_by_text("2,000 rows and 5 columns.")).to_be_visible()
    choose(page, "Column to predict", "churn")
    expect(page.get_by_text("2 classes: no, yes")).to_be_visible()
    page.get_by_label("Time to spend").fill("0.4" if PICTURES else "0.05")
    page.get_by_label("Name", exact=True).fill("churn")
    picture(page, "console-train")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text(re.compile("Tried so far|Leaderboard"))).to_be_visible()
    if PICTURES:
        page.wait_for_timeout(6000)
    picture(page, "console-training", whole=False)
    page.get_by_role("link", name="See the model").click()
    expect(page.get_by_text("ROC AUC").first).to_be_visible()
    expect(page.get_by_text("Measured at the threshold 0.50.")).to_be_visible()
    page.locator(".q-slider__track-container").press("PageUp")
    page.locator(".q-slider__track-container").press("ArrowRight")
    expect(page.get_by_text("Measured at the threshold 0.60.")).to_be_visible()
    picture(page, "console-model")

    # Predict
    page.get_by_role("link", name="New batch inference").click()
    page.get_by_label("Name", exact=True).fill("October")
    page.get_by_label("Path or table").fill("gs://demo/october.csv")
    page.get_by_label("Destination").fill("gs://demo/scores")
    explain = page.get_by_role("switch", name="Enable feature attributions for this model")
    expect(explain).to_be_disabled()
    choose(page, "Output format", "JSON lines")
    explain.click()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("What would happen")).to_be_visible()
    picture(page, "console-new")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Succeeded")).to_be_visible()
    expect(page.get_by_text("First predictions")).to_be_visible()
    expect(page.get_by_text("2,940").first).to_be_visible()
    expect(page.get_by_text("age: not a number").first).to_be_visible()
    expect(page.get_by_text("Row by row")).to_be_visible()
    failed = page.get_by_role("region", name="Rows that failed")
    expect(failed.get_by_text("cannot read 'unknown' as a number").first).to_be_visible()
    page.get_by_role("button", name="age: not a number: examples").click()
    expect(page.get_by_role("listitem").get_by_text("row 125, line 126")).to_be_visible()
    picture(page, "console-job")
    with page.expect_download() as download:
        page.get_by_role("link", name="errors_1.jsonl").click()
    assert Path(download.value.path()).read_text().count("\n") == 60
    finished = page.url

    # Retry
    page.get_by_role("link", name="Retry failed rows").click()
    expect(page.get_by_text("The rows that failed are scored again.")).to_be_visible()
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Succeeded")).to_be_visible()
    expect(page.get_by_text("60", exact=True).first).to_be_visible()

    # Cancel
    page.goto(finished)
    page.get_by_role("link", name="Clone").click()
    page.get_by_label("Name", exact=True).fill("All customers")
    page.get_by_label("Path or table").fill("gs://large/large.csv")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Running")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("Cancelled", exact=True)).to_be_visible()
    expect(page.get_by_text("This job was cancelled.")).to_be_visible()

    # Query
    page.get_by_role("link", name="Data", exact=True).click()
    page.get_by_label("Name of the new table").fill("bq://local.shop.customers")
    page.locator("input[type=file]").set_input_files(tmp_path / "customers.csv")
    expect(page.get_by_text("The table is there.")).to_be_visible()
    page.get_by_role("link", name="SQL", exact=True).click()
    page.get_by_label("Query").fill(
        "SELECT churn, COUNT(*) AS customers FROM shop.customers GROUP BY churn ORDER BY churn"
    )
    page.get_by_label("Query").press("Control+Enter")
    expect(page.get_by_role("cell", name="yes", exact=True)).to_be_visible()
    picture(page, "console-sql", whole=False)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    saved = Path(download.value.path()).read_text().splitlines()
    assert saved[0] == "churn,customers"
    assert len(saved) == 3

    page.get_by_role("link", name="Batch inference", exact=True).first.click()
    for name in ("October", "October (retry)", "All customers"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    picture(page, "console-jobs", whole=False)
    page.goto(url)
    expect(page.get_by_role("link", name="All customers")).to_be_visible()
    picture(page, "console-overview", whole=False)
    assert page.wrong == []


def look_on_a_phone_in_the_dark(page, url):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    try:
        for place in ("", "batch-predictions", "batch-predictions/new", "models", "training/new"):
            page.goto(f"{url}/locations/us-central1/{place}" if place else url)
            page.get_by_role("heading", level=1).wait_for()
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, place
        page.goto(f"{url}/locations/us-central1/batch-predictions")
        page.get_by_role("link", name="October", exact=True).click()
        page.get_by_text("First predictions").wait_for()
        picture(page, "console-phone", whole=False)
    finally:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.emulate_media(color_scheme="light")
    assert page.wrong == []


def look_at_what_is_meant_ill(page, home, url):
    columns = {f"c {attack}": np.resize([attack, "b"], 300) for attack in ATTACKS[:3]}
    columns["number"] = np.arange(300) % 7
    columns["label"] = np.resize([*ATTACKS, "fine"], 300)
    file = home / "buckets" / "demo" / "<img src=x onerror=window.hit=1>.csv"
    pc.write_csv(pa.table(columns), file)
    rowcast.train(file, target="label", name=ATTACKS[0], home=home, trials=1)
    for place, words in (
        ("data?bucket=demo", "onerror"),
        ("data?uri=gs://demo/<img src=x onerror=window.hit=1>.csv", "First rows"),
        ("models", "<script>window.hit=1</script>"),
    ):
        page.goto(f"{url}/locations/us-central1/{place}")
        page.get_by_text(words).first.wait_for()
        assert page.evaluate(HIT)
    page.get_by_role("link", name="<script>window.hit=1</script>").click()
    page.get_by_text("Class by class").wait_for()
    assert page.evaluate(HIT)
    for tab in ("Versions", "Details"):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("heading", name=tab, exact=True).wait_for()
        assert page.evaluate(HIT)
    page.get_by_role("link", name="New batch inference").click()
    page.get_by_label("Path or table").fill("gs://demo/<img*")
    page.get_by_label("Destination").fill("gs://demo/evil")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("What would happen").wait_for()
    assert page.evaluate(HIT)
    page.get_by_label("Name", exact=True).fill(ATTACKS[1])
    page.get_by_role("button", name="Create").click()
    page.get_by_text("First predictions").wait_for()
    assert page.evaluate(HIT)
    assert page.wrong == []


def test_without_the_extra_the_page_says_how_to_get_it():
    code = (
        "import sys, asyncio; sys.modules['nicegui'] = None\n"
        "from rowcast.console.missing import MissingConsole\n"
        "from starlette.testclient import TestClient\n"
        "answer = TestClient(MissingConsole()).get('/')\n"
        "assert answer.status_code == 501\n"
        "assert \"pip install 'rowcast[console]'\" in answer.text\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
