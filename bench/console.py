"""The console: time to a page, memory over visits, 10,000 jobs, requests that leave the machine.

    python -m bench.console --home HOME --visits 500

HOME holds a model and at least one finished job; it is copied, and jobs are added to the copy.
Needs Chromium and the extra ``console``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
JOBS = 10_000
MICROSECONDS_APART = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--visits", type=int, default=500)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        home = Path(folder, "home")
        shutil.copytree(asked.home, home)
        last = add_jobs(home, JOBS)
        process, url = start(home)
        try:
            visit(process, url, (home / "token").read_text().strip(), last, asked.visits)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def add_jobs(home: Path, wanted: int) -> str:
    """Copy a finished job until there are enough; the id of the last one."""
    with sqlite3.connect(home / "rowcast.db") as database:
        columns = [row[1] for row in database.execute("pragma table_info(jobs)")]
        query = "select * from jobs where state = 'JOB_STATE_SUCCEEDED' limit 1"
        pattern = dict(zip(columns, database.execute(query).fetchone(), strict=True))
        for number in range(wanted):
            id_ = str(10**18 + number)
            document = json.loads(pattern["document"])
            document["id"] = id_
            document["spec"]["display_name"] = f"job {number}"
            job = pattern | {
                "id": id_,
                "display_name": f"job {number}",
                "created_us": pattern["created_us"] + number * MICROSECONDS_APART,
                "document": json.dumps(document),
            }
            marks = ",".join("?" * len(columns))
            database.execute(f"insert into jobs values ({marks})", [job[c] for c in columns])
    return str(pattern["id"])


def start(home: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rowcast", "serve", "--home", str(home), "--port", "0"],
        env={**os.environ, "ROWCAST_LOG_LEVEL": "info"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = next(json.loads(line)["url"] for line in process.stderr if '"serving"' in line)
    subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            break
    return process, url


def visit(process: subprocess.Popen[str], url: str, token: str, job: str, visits: int) -> None:
    from playwright.sync_api import sync_playwright

    server = psutil.Process(process.pid)
    print(f"server before the first page: {server.memory_info().rss / 1e6:.0f} MB")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    root = f"{url}/locations/us-central1"
    pages = {
        "overview": url,
        "jobs": f"{root}/batch-predictions",
        "job": f"{root}/batch-predictions/{job}",
        "new job": f"{root}/batch-predictions/new",
        "models": f"{root}/models",
        "training": f"{root}/training",
        "data": f"{root}/data",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        name = f"rowcast_{url.rpartition(':')[2]}"
        context.add_cookies([{"name": name, "value": token, "url": url}])
        page = context.new_page()
        elsewhere: list[str] = []
        own = re.escape(url).replace("http", "(http|ws)", 1)
        page.on(
            "request",
            lambda asked: (
                None if re.match(f"{own}/|data:", asked.url) else elsewhere.append(asked.url)
            ),
        )

        def seconds(address: str) -> float:
            began = time.perf_counter()
            page.goto(address, wait_until="commit")
            page.locator("h1").wait_for()
            return time.perf_counter() - began

        print(f"first page of the server: {seconds(url):.2f} s")
        for title, address in pages.items():
            seconds(address)
            taken = [seconds(address) for _ in range(9)]
            print(f"{title}: {statistics.median(taken):.2f} s, worst of 9 {max(taken):.2f} s")
        print(f"requests elsewhere: {len(elsewhere)}")
        addresses = list(pages.values())
        for number in range(visits + 1):
            seconds(addresses[number % len(addresses)])
            if number % max(1, visits // 10) == 0:
                page.wait_for_timeout(200)
                print(f"{number} visits: {server.memory_info().rss / 1e6:.0f} MB", flush=True)
        page.goto("about:blank")
        page.wait_for_timeout(20_000)
        print(f"20 s after the last: {server.memory_info().rss / 1e6:.0f} MB")
        browser.close()


if __name__ == "__main__":
    main()
