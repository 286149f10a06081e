"""The report's page in a real browser, as wide as a phone."""

import html
import json
import re
import shutil
import subprocess

import pytest
from written_runs import PRETRAINED, write_run, write_sweep

from ssl_cli.report.found_runs import read_runs
from ssl_cli.report.report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to open the page in")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr",
    "--virtual-time-budget=20000", "--dump-dom",
)  # fmt: skip
# The page in a frame of the width of a phone; what is found there becomes the text of the page around it.
AROUND = """<!doctype html><body><iframe id="frame" width="390" height="800" srcdoc="{page}"></iframe>
<pre id="found"></pre><script>
document.getElementById("frame").onload = () => {{
  const page = document.getElementById("frame").contentDocument;
  const body = page.documentElement;
  const pictures = [...page.images].map(one => one.naturalWidth);
  const table = [...page.querySelectorAll("table")].find(one => one.tHead.textContent.includes("seconds"));
  const column = [...table.tHead.rows[0].cells].findIndex(one => one.textContent.includes("test accuracy"));
  const cells = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
  const before = cells();
  const click = () => {{ table.tHead.rows[0].cells[column].querySelector("button").click(); return cells(); }};
  const sticksOut = [...page.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > 391
    && !one.closest(".wide") && !one.closest("pre")).map(one => one.outerHTML.slice(0, 80));
  document.getElementById("found").textContent = JSON.stringify({{ pictures, before, up: click(), down: click(), sticksOut,
    width: body.scrollWidth, dark: page.defaultView.matchMedia("(prefers-color-scheme: dark)").matches }});
}};
</script>"""


@pytest.fixture
def opened(tmp_path):
    """What a browser finds on a page, and what it complains of."""

    def open_page(text: str) -> tuple[dict, list[str]]:
        around = tmp_path / "around.html"
        around.write_text(AROUND.format(page=html.escape(text)), encoding="utf-8")
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        done = subprocess.run(
            [BROWSER, *OPTIONS, profile, around.as_uri()], capture_output=True, text=True, timeout=240, encoding="utf-8"
        )
        found = re.findall(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stdout[-2000:] + done.stderr[-2000:]
        return json.loads(html.unescape(found[0])), re.findall(r".*CONSOLE.*", done.stderr)

    return open_page


def test_the_page_is_sound_and_fits_a_phone(tmp_path, opened, monkeypatch):
    monkeypatch.setattr("ssl_cli.report.advice._would_run", lambda command: True)
    write_sweep(tmp_path / "runs", budgets=(20, 40), seeds=2)
    long = "a_name_without_any_place_to_break_it_that_goes_on_and_on_" * 3
    write_run(tmp_path / "runs" / long[:200], 0.9, f"{PRETRAINED}, {long}", labels=40, classes=(long, "<b>b</b>"))
    write_report(read_runs([tmp_path / "runs"]), tmp_path, long)
    found, complaints = opened((tmp_path / "report.html").read_text())
    assert complaints == []
    assert len(found["pictures"]) >= 3
    assert min(found["pictures"]) > 0
    assert found["width"] <= 390
    assert found["sticksOut"] == []
    numbers = [[float(cell.split()[0]) for cell in found[key]] for key in ("before", "up", "down")]
    assert numbers[1] == sorted(numbers[0])
    assert numbers[2] == sorted(numbers[0], reverse=True) != numbers[0]
