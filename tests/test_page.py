"""The pages in a real browser: a sweep's and a training's, opened from disk."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from conftest import TINY, Ran, only, save_tiny_prior, write_pictures

from gan_inpaint.reporting import comparison

Run = Callable[..., Ran]
SWEEP = ["data.count=5", "restarts=2", "baselines=true", "logger=none", "steps=20", "candidates=8"]


class Opened:
    """A page, and what its console complained of."""

    def __init__(self, browser, path: Path, **options: object):  # type: ignore[no-untyped-def]
        self.page = browser.new_page(**options)
        self.errors: list[str] = []
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda r: r.url.startswith("http") and self.errors.append(r.url))
        self.page.goto(f"file://{path}")

    def column(self, number: int, table: str = "jobs") -> list[str]:
        cells = self.page.query_selector_all(f"#{table} tbody td:nth-child({number})")
        return [cell.text_content() for cell in cells if cell.is_visible()]

    def pixels(self, number: int = 0) -> list[int]:
        """RGBA values of a job's image."""
        self.page.wait_for_timeout(300)  # decoding is asynchronous
        script = (
            "n => { const c = document.querySelectorAll('#viewer canvas')[n];"
            " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"
        )
        return self.page.evaluate(script, number)


def test_a_sweep_can_be_judged_on_its_page(run: Run, tmp_path: Path, browser: object) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    base = [f"prior={prior}", "data=generated", *SWEEP]
    ran = run("reconstruct", "-m", "lam=0,1e-5", "norm=l1,l2", *base)
    assert ran.code == 0, ran.err
    sweep = only(tmp_path / "multirun", "*")
    opened = Opened(browser, sweep / "index.html")
    page = opened.page
    assert "lam=0,1e-5 norm=l1,l2" in page.text_content(".about")
    assert "Highest mean hole PSNR" in page.text_content(".findings")
    assert len(opened.column(1, "leads")) >= 3

    # the table: sort by a number both ways, then by a word; filter
    headings = page.query_selector_all("#jobs thead button")
    names = [heading.text_content() for heading in headings]
    number = names.index("psnr_hole")
    for reverse in (False, True):
        headings[number].focus()
        page.keyboard.press("Enter")
        values = [float(value) for value in opened.column(number + 1)]
        assert values == sorted(values, reverse=reverse)
    page.fill("#filter", "norm=l1")
    assert len(opened.column(1)) == 2
    assert page.text_content("#matches") == "2 of 4 rows."
    page.fill("#filter", "")

    # charts: one for each key that was varied, a dot a job, named under the keyboard's focus
    assert page.locator("#settings svg").count() == 2
    dot = page.locator("#settings circle").first
    dot.focus()
    assert "dB" in dot.get_attribute("aria-label")
    job = dot.get_attribute("data-job")
    assert "lit" in page.get_attribute(f'#jobs tr[data-job="{job}"]', "class")
    assert page.locator("#losses path.curve").count() == 4

    # images: another image, before and after, errors
    page.locator("#viewer").scroll_into_view_if_needed()
    after = opened.pixels()
    page.click("#next")
    other = opened.pixels()
    assert other != after
    page.click("#previous")
    assert opened.pixels() == after
    page.fill("#slider", "0")
    before = opened.pixels()
    assert before != after
    assert before[4 * (16 * 8 + 8) :][:3] == [255, 120, 120], "the hole is red"
    assert before[:3] == after[:3], "known pixels are the same before and after"
    shown = {}
    for view in ("generated", "known", "hole"):
        page.select_option("#view", view)
        shown[view] = opened.pixels()
    assert len({tuple(pixels) for pixels in shown.values()}) == 3
    assert shown["known"][4 * (16 * 8 + 8) :][:3] == [60, 60, 70], "nothing is known there"
    page.click("#viewer summary >> nth=0")
    assert page.locator("#viewer details[open] td").count() == 4

    pictures = page.query_selector_all("canvas, img")
    assert all(p.get_attribute("aria-label") or p.get_attribute("alt") for p in pictures)
    assert not opened.errors


def test_it_fits_a_phone_and_follows_the_dark(run: Run, tmp_path: Path, browser: object) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    base = [f"prior={prior}", "data=generated", *SWEEP]
    assert run("reconstruct", "-m", "lam=0,1e-5", *base).code == 0
    path = only(tmp_path / "multirun", "*") / "index.html"
    phone = Opened(browser, path, viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    ink = phone.page.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(230, 230, 230)"
    assert not phone.errors


def test_names_are_harmless(run: Run, tmp_path: Path, browser: object) -> None:
    evil = "</script><script>window.evil=1<!script>\"'&.png"
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 2)
    (pictures / "00.png").rename(pictures / evil.replace("/", ""))
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "logger=none"]
    assert run("reconstruct", "-m", "lam=0,1", *arguments, "steps=2", "candidates=8").code == 0
    sweep = only(tmp_path / "multirun", "*")
    results = sweep / "0" / "results.csv"  # names with a slash come from archives
    results.write_text(results.read_text().replace("01.png", "</script><script>window.evil=1//"))
    summary = sweep / "1" / "summary.json"
    content = json.loads(summary.read_text()) | {"status": "failed", "error": "<img onerror=evil>"}
    summary.write_text(json.dumps(content))
    comparison.compare(sweep)
    opened = Opened(browser, sweep / "index.html")
    assert opened.page.evaluate("window.evil") is None
    assert "window.evil=1" in opened.page.text_content("#image")
    assert "<img onerror=evil>" in opened.page.text_content("#jobs")
    assert not opened.errors


def test_two_hundred_jobs_stay_under_fifty_megabytes(
    run: Run, tmp_path: Path, browser: object
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    base = [f"prior={prior}", "data=generated", *SWEEP]
    assert run("reconstruct", "-m", "lam=0,1e-5", *base).code == 0
    sweep = only(tmp_path / "multirun", "*")
    for number in range(2, 200):
        shutil.copytree(sweep / str(number % 2), sweep / str(number))
        told = sweep / str(number) / ".hydra" / "overrides.yaml"
        told.write_text(told.read_text().replace("lam=", f"lam={number}"))
    comparison.compare(sweep)
    assert (sweep / "index.html").stat().st_size < 50e6
    opened = Opened(browser, sweep / "index.html")
    assert len(opened.column(1)) == 200
    assert opened.page.locator("#viewer canvas").count() == 200
    assert not opened.errors


def test_a_training_has_a_page(run: Run, tmp_path: Path, browser: object) -> None:
    pictures = write_pictures(tmp_path / "pictures", 40)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1", "logger=none"]
    arguments += ["batch_size=8", "log_every=1", "trainer.max_epochs=3", "name=small"]
    ran = run("train", *arguments, "checkpoint.every_n_epochs=1")
    assert ran.code == 0, ran.err
    opened = Opened(browser, only(tmp_path / "outputs/train/small", "*") / "index.html")
    page = opened.page
    assert page.locator("#losses path.curve:not(.raw)").count() == 2
    page.locator("#losses svg").hover()
    assert "smoothed" in page.text_content("#losses-said")
    last = page.get_attribute("#samples", "src")
    page.fill("#epoch", "0")
    assert page.text_content("#epoch-said") == "1"
    assert page.get_attribute("#samples", "src") != last
    assert page.get_attribute("#samples", "alt") == "Samples after epoch 1"
    assert not opened.errors
