"""The pages in a real browser: a sweep's, a job's and a training's, opened from disk."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image
from scipy.stats import sem, t

from gan_inpaint.reporting import comparison

Run = Callable[..., Ran]
SWEEP = ["data.count=5", "restarts=2", "logger=none", "steps=10", "guide=none"]
SWEEP += ["candidates=8"]


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


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``three``: 3x2x2 jobs; ``lam``: five values and 0; ``masks``: two masks."""
    folder = tmp_path_factory.mktemp("sweeps")
    prior = save_tiny_prior(folder / "tiny.safetensors")
    base = [f"prior={prior}", "data=generated", *SWEEP]
    swept = {
        "three": ["lam=0,1e-3,1", "lr=0.02,0.3", "norm=l1,l2", "keep=2"],
        "lam": ["lam=0,1e-6,1e-5,1e-4,1"],
        "masks": ["lam=0,1", "mask=center,half", "norm=l1,l2"],
    }
    lines = [["-m", *words, *base, f"hydra.sweep.dir={folder / n}"] for n, words in swept.items()]
    script = "import sys; from gan_inpaint.reconstruct import main\n"
    script += f"for words in {lines}: sys.argv[1:] = words; main()"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=folder)
    yield folder
    shutil.rmtree(folder)


def psnrs(sweep: Path) -> np.ndarray:
    """``(jobs, images)``: hole PSNR."""
    jobs = sorted((d for d in sweep.iterdir() if d.name.isdecimal()), key=lambda d: int(d.name))
    tables = [list(csv.DictReader((job / "results.csv").open())) for job in jobs]
    return np.array([[float(row["psnr_hole"]) for row in rows] for rows in tables])


def told(page: Any) -> list[str]:
    """The jobs in the tip, as it is shown."""
    tip = page.locator("#tip")
    return tip.locator("div").all_text_contents() if tip.is_visible() else []


@pytest.mark.parametrize("name", ["three", "lam"])
def test_every_dot_shows_its_job_and_those_that_lie_on_it(
    name: str, sweeps: Path, browser: object
) -> None:
    opened = Opened(browser, sweeps / name / "index.html", viewport={"width": 1280, "height": 900})
    page, count = opened.page, len(psnrs(sweeps / name))
    for chart in ("every", "trade"):
        dots = page.locator(f"#{chart} circle[data-job]")
        assert dots.count() == count
        page.locator(f"#{chart}").scroll_into_view_if_needed()
        boxes = [dots.nth(i).bounding_box() for i in range(count)]
        middles = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes]
        for i, (x, y) in enumerate(middles):
            page.mouse.move(x, y)
            shown = {int(line.split()[1].rstrip(":")) for line in told(page)}
            coinciding = {
                int(dots.nth(k).get_attribute("data-job"))
                for k, (ox, oy) in enumerate(middles)
                if np.hypot(ox - x, oy - y) < 5
            }
            assert coinciding <= shown
            assert int(dots.nth(i).get_attribute("data-job")) in shown
    xs = {
        round(b["x"])
        for b in [page.locator("#every circle").nth(i).bounding_box() for i in range(count)]
    }
    assert name != "lam" or len(xs) == 5, "lam=0 has a place of its own"
    page.mouse.move(2, 2)
    assert not told(page)
    assert not opened.errors


def test_effects_are_those_of_the_paired_differences(sweeps: Path, browser: object) -> None:
    values = psnrs(sweeps / "three").reshape(3, 2, 2, 5)  # lam, lr, norm, image
    opened = Opened(browser, sweeps / "three" / "index.html")
    found = opened.page.evaluate(
        "effectsOf(data.jobs, data.keys, task().t[1]).map((one) => [one.key, one.share,"
        " one.levels.map((level) => [level.label, level.mean, level.reach])])"
    )
    assert {key for key, *_ in found} == {"lam", "lr", "norm"}
    average = values.mean((0, 1, 2))
    total = ((values.mean(3) - average.mean()) ** 2).sum()
    for key, share, levels in found:
        axis = ["lam", "lr", "norm"].index(key)
        others = tuple({0, 1, 2} - {axis})
        effects = values.mean(others) - average  # (levels, images)
        low, high = t.interval(0.95, 4, effects.mean(1), sem(effects, axis=1))
        assert [level[1] for level in levels] == pytest.approx(effects.mean(1), abs=2e-4)
        assert [level[2] for level in levels] == pytest.approx((high - low) / 2, abs=5e-4)
        weight = values[..., 0].size / len(levels)
        assert share == pytest.approx(weight * (effects.mean(1) ** 2).sum() / total, abs=1e-3)
    assert [share for _, share, _ in found] == sorted((s for _, s, _ in found), reverse=True)


def test_the_interaction_is_what_the_sum_of_both_effects_leaves(
    sweeps: Path, browser: object
) -> None:
    values = psnrs(sweeps / "three").reshape(3, 2, 2, 5)
    opened = Opened(browser, sweeps / "three" / "index.html")
    cells = opened.page.evaluate(
        "interactionOf(data.jobs, data.keys, ['lam', 'norm'], (m) => task().t[m]).cells.map("
        "(cell) => [cell.mean, cell.reach, cell.psnr])"
    )
    average = values.mean((0, 1, 2))
    both = values.mean(1)  # lam, norm, image
    left = both - values.mean((1, 2))[:, None] - values.mean((0, 1))[None] + average
    flat = left.reshape(6, 5)
    reach = t.ppf(1 - 0.025 / 6, 4) * sem(flat, axis=1)
    assert [cell[0] for cell in cells] == pytest.approx(flat.mean(1), abs=2e-4)
    assert [cell[1] for cell in cells] == pytest.approx(reach, abs=1e-3)
    assert [cell[2] for cell in cells] == pytest.approx(both.mean(2).ravel(), abs=2e-4)


def test_effects_of_an_unbalanced_sweep_are_those_of_least_squares(
    sweeps: Path, browser: object
) -> None:
    """Made-up jobs in which a good lr goes along with a good lam."""
    opened = Opened(browser, sweeps / "three" / "index.html")
    jobs = [(0, 0, 1), (1, 1, 9), (1, 1, 9.2), (0, 1, 5), (1, 0, 5)]  # lam, lr, PSNR
    script = """(jobs) => effectsOf(jobs.map(([lam, lr, psnr], job) =>
        ({ job, values: { lam, lr }, psnrs: [psnr, psnr + 1] })), ["lam", "lr"], 1)
        .map(({ levels }) => levels[1].mean - levels[0].mean)"""
    found = opened.page.evaluate(script, jobs)
    design = np.array([[1, lam, lr] for lam, lr, _ in jobs])
    slopes = np.linalg.lstsq(design, np.array([psnr for *_, psnr in jobs]), rcond=None)[0][1:]
    assert sorted(found) == pytest.approx(sorted(slopes), abs=1e-6)


def test_a_sweep_can_be_judged_on_its_page(sweeps: Path, browser: object) -> None:
    sweep = sweeps / "three"
    opened = Opened(browser, sweep / "index.html")
    page = opened.page
    best = int(psnrs(sweep).mean(1).argmax())
    assert "lam=0,1e-3,1 lr=0.02,0.3 norm=l1,l2" in page.text_content(".about")
    verdict = page.text_content(".findings")
    assert "Highest mean hole PSNR" in verdict
    assert "of the 11 other jobs are within the noise of it" in verdict
    page.click(".findings ~ details summary")
    assert len(opened.column(1, "leads")) >= 11
    said = page.locator("#effects figcaption").all_text_contents()
    assert {words.split(":")[0] for words in said} == {"lam", "lr", "norm"}
    assert "interact" in page.text_content("#interaction")
    assert page.locator("#pair option").count() == 3

    # the table: the best first, numbers to the right, links to the jobs; a heading sorts
    assert opened.column(1)[0] == str(best)
    right = "getComputedStyle(document.querySelector('#jobs td.number:nth-child(2)')).textAlign"
    assert page.evaluate(right) == "right"
    assert page.get_attribute("#jobs tbody a", "href") == f"{best}/index.html"
    headings = page.query_selector_all("#jobs thead button")
    number = [heading.text_content() for heading in headings].index("psnr_hole")
    for reverse in (True, False):
        headings[number].focus()
        page.keyboard.press("Enter")
        values = [float(value.split()[0]) for value in opened.column(number + 1)]
        assert values == sorted(values, reverse=reverse)
    hidden = page.locator("#jobs th.more").first
    assert not hidden.is_visible()
    page.check("#more")
    assert hidden.is_visible()

    # one filter for everything
    page.fill("#filter", "norm=l1")
    assert len(opened.column(1)) == 6
    assert page.text_content("#matches") == "6 of 12 jobs."
    assert page.locator("#every circle[data-job]").count() == 6
    assert page.locator("#viewer figure[data-job]").count() == 6
    assert page.locator("#effects figure").count() == 2
    assert page.locator("#losses svg[aria-label*=l2]").count() == 0
    for words, count in (
        ("lam=1e-3", 4),
        ("lam=0.001 lr>0.1", 2),
        ("lam<=0.001", 8),
        ("lam=", 12),
        ("norm=L2 lam=1", 2),
        ("beauty=1", 0),
    ):
        page.fill("#filter", words)
        assert page.text_content("#matches").startswith(f"{count} of 12 jobs."), words
    page.fill("#filter", "nothing like it")
    assert page.text_content("#matches") == "0 of 12 jobs. Try norm=l1, lam>0.001, or a word."
    assert not page.locator("#viewer").is_visible()
    page.fill("#filter", "")
    assert page.locator("#losses svg[role=img], #losses svg[aria-label]").count() >= 4
    pictures = page.query_selector_all("canvas, img")
    assert all(p.get_attribute("aria-label") or p.get_attribute("alt") for p in pictures)
    assert not opened.errors


def test_the_same_image_across_the_jobs(sweeps: Path, browser: object) -> None:
    opened = Opened(browser, sweeps / "three" / "index.html")
    page = opened.page
    page.locator("#viewer").scroll_into_view_if_needed()
    captions = page.locator("#viewer figcaption").all_text_contents()
    assert captions[:2] == ["damaged", "true"]
    hole = 4 * (16 * 8 + 8)
    damaged, true, after = (opened.pixels(i) for i in range(3))
    assert damaged[hole:][:3] == [255, 120, 120], "the hole is red"
    assert damaged[:3] == true[:3] == after[:3], "known pixels are the same"
    page.click("#next")
    assert opened.pixels(2) != after
    page.click("#previous")
    assert opened.pixels(2) == after
    shown = {}
    for view in ("generated", "known", "hole", "alternative 1", "spread"):
        page.select_option("#view", view)
        shown[view] = opened.pixels(2)
    assert len({tuple(pixels) for pixels in shown.values()}) == 5
    assert shown["known"][hole:][:3] == [60, 60, 70], "nothing is known there"
    page.select_option("#view", "slider")
    page.fill("#slider", "0")
    assert opened.pixels(2) == damaged
    assert opened.pixels(1) == true
    page.click("#viewer summary >> nth=0")
    assert page.locator("#viewer details[open] td").count() == 4
    assert "among the worst of the best job" in page.text_content("#image")
    assert not opened.errors


def test_jobs_over_different_masks_are_never_averaged(sweeps: Path, browser: object) -> None:
    opened = Opened(browser, sweeps / "masks" / "index.html")
    page = opened.page
    options = page.locator("#task option").all_text_contents()
    assert sorted(options) == ["mask=center", "mask=half"]
    seen = []
    for label in options:
        page.select_option("#task", label=label)
        shown = opened.column(1)
        assert len(shown) == 4
        seen += shown
        captions = page.locator("#effects figcaption").all_text_contents()
        assert {words.split(":")[0] for words in captions} == {"lam", "norm"}
    assert len(set(seen)) == 8
    assert "With mask=half: highest mean hole PSNR" in page.text_content(".findings")
    assert not opened.errors


def test_dots_are_walked_with_the_keyboard(sweeps: Path, browser: object) -> None:
    opened = Opened(browser, sweeps / "three" / "index.html")
    page = opened.page
    assert page.locator("#every circle[tabindex='0']").count() == 1, "one stop for the tab key"
    page.locator("#every circle[tabindex='0']").focus()
    visited = []
    for _ in range(12):
        visited.append(page.evaluate("document.activeElement.dataset.job"))
        assert any(f"job {visited[-1]}:" in line for line in told(page))
        assert page.locator(f"#jobs tr.lit[data-job='{visited[-1]}']").count() == 1
        page.keyboard.press("ArrowRight")
    assert len(set(visited)) == 12
    page.keyboard.press("Enter")
    assert page.locator("#viewer figure.lit").count() == 1
    assert page.locator(f"#viewer figure.lit[data-job='{visited[0]}']").count() == 1
    assert page.evaluate("document.activeElement.dataset.job") == visited[0]
    page.keyboard.press("Escape")
    assert not told(page)
    assert not opened.errors


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_pages_are_accessible_and_fit(
    width: int, scheme: str, sweeps: Path, browser: object
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for path in ("three/index.html", "masks/index.html", "three/0/index.html"):
        screen = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        opened = Opened(browser, sweeps / path, **screen)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(opened.page).response["violations"]
        assert not found, [(v["id"], v["nodes"][0]["html"][:200]) for v in found]
        assert not opened.errors


def test_print_shows_the_whole_table(sweeps: Path, browser: object) -> None:
    opened = Opened(
        browser, sweeps / "three" / "index.html", viewport={"width": 720, "height": 900}
    )
    opened.page.emulate_media(media="print")
    box = opened.page.evaluate(
        "(() => { const s = document.querySelector('.scroll:has(#jobs)');"
        " return [s.scrollWidth - s.clientWidth, s.scrollHeight - s.clientHeight]; })()"
    )
    assert max(box) <= 1
    assert opened.page.locator("#jobs th", has_text="psnr_hole").first.is_visible()


def test_it_follows_the_dark(sweeps: Path, browser: object) -> None:
    phone = Opened(browser, sweeps / "lam" / "index.html", color_scheme="dark")
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


def test_two_hundred_jobs_open_in_three_seconds(
    sweeps: Path, tmp_path: Path, browser: object
) -> None:
    sweep = tmp_path / "many"
    for number in range(200):
        shutil.copytree(sweeps / "lam" / str(number % 5), sweep / str(number))
        told = sweep / str(number) / ".hydra" / "overrides.yaml"
        told.write_text(f"[lam={number}]")
    comparison.compare(sweep)
    assert (sweep / "index.html").stat().st_size < 50e6
    opened = Opened(browser, sweep / "index.html")
    assert len(opened.column(1)) == 200
    assert opened.page.locator("#every circle[data-job]").count() == 200
    assert opened.page.locator("#viewer canvas").count() == 202
    assert not opened.errors


def test_the_vendored_libraries_are_what_the_list_says() -> None:
    folder = Path(comparison.__file__).parent / "templates" / "vendor"
    listed = re.findall(
        r"\| (\S+\.js) \|.*\| `([0-9a-f]{64})` \|", (folder / "README.md").read_text()
    )
    assert {name for name, _ in listed} == {file.name for file in folder.glob("*.js")}
    for name, digest in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_job_has_a_page(run: Run, tmp_path: Path, browser: object) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    photographs = write_pictures(tmp_path / "own # photographs", 2, size=40, mode="RGB")
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 15:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    words = ["data=folder", f"data.path={photographs}", "mask=file", "mask.path=mask.png"]
    words += ["restarts=4", "keep=2", "candidates=8", "steps=4", "logger=none"]
    ran = run("reconstruct", f"prior={prior}", *words, "hydra.run.dir=job")
    assert ran.code == 0, ran.err
    assert "job/index.html" in ran.out
    assert (tmp_path / "job" / "index.html").stat().st_size < 1e6
    hole = Image.open(tmp_path / "job" / "restored_holes" / "00.png").convert("RGBA")
    assert np.array_equal(np.asarray(hole)[..., 3] > 0, mask > 0)
    opened = Opened(browser, tmp_path / "job" / "index.html")
    page = opened.page
    page.evaluate("document.querySelectorAll('img').forEach((one) => (one.loading = 'eager'))")
    page.wait_for_timeout(300)
    assert page.locator(".photograph").count() == 2
    size = "(one) => [one.naturalWidth, one.naturalHeight]"
    first = page.locator(".photograph").first
    assert first.locator(".filled").evaluate(size) == [40, 40]
    assert first.locator(".cover").evaluate(size) == [40, 40]
    assert "100%" in first.locator(".cover").evaluate("(one) => one.style.clipPath")
    first.locator("input").fill("0")
    assert "0%" in first.locator(".cover").evaluate("(one) => one.style.clipPath")
    before = first.locator(".filled").get_attribute("src")
    first.locator("button >> nth=1").click()
    assert first.locator(".filled").get_attribute("src") != before
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)")
    assert page.locator("figure svg[role=img]").count() == 3
    assert page.locator(".row figcaption").all_text_contents().count("disagreement") == 2
    assert not opened.errors


def test_a_training_has_a_page(run: Run, tmp_path: Path, browser: object) -> None:
    pictures = write_pictures(tmp_path / "pictures", 40)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1", "logger=none"]
    arguments += ["batch_size=8", "log_every=1", "trainer.max_epochs=3", "name=small"]
    ran = run("train", *arguments, "checkpoint.every_n_epochs=1")
    assert ran.code == 0, ran.err
    trained = only(tmp_path / "outputs/train/small", "*")
    assert (trained / "index.html").stat().st_size < 1e6
    opened = Opened(browser, trained / "index.html")
    page = opened.page
    assert page.locator("svg[role=img]").count() == 2, "losses, and D's scores"
    assert "held-out images" in page.text_content("main")
    shown = page.locator("figure.epoch:visible")
    assert shown.locator("img").get_attribute("alt") == "Samples after epoch 3"
    page.fill("#epoch", "0")
    assert page.text_content("#epoch-said") == "1"
    assert shown.count() == 1
    assert shown.locator("img").get_attribute("alt") == "Samples after epoch 1"
    assert shown.locator("img").evaluate("(one) => one.decode().then(() => one.naturalWidth)") > 0
    command = shown.locator("code").text_content()
    assert command == f"python -m gan_inpaint.select run={trained.relative_to(tmp_path)} epoch=1"
    assert run("select", *command.split()[3:]).code == 0
    assert not opened.errors


def test_a_sweep_over_one_image_or_without_the_truth_has_a_page(
    run: Run, tmp_path: Path, browser: object
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 2)
    base = ["-m", "lam=0,1", f"prior={prior}", "steps=2", "candidates=8", "logger=none"]
    words = ["data=generated", "data.count=1", "hydra.sweep.dir=one"]
    assert run("reconstruct", *base, *words).code == 0
    words = ["data=folder", f"data.path={pictures}", "data.truth=false", "hydra.sweep.dir=blind"]
    assert run("reconstruct", *base, *words).code == 0
    one = Opened(browser, tmp_path / "one" / "index.html")
    assert one.page.locator("#every circle[data-job]").count() == 2
    assert not one.page.locator("#effects").is_visible(), "there is no interval"
    blind = Opened(browser, tmp_path / "blind" / "index.html")
    assert not blind.page.locator("#every").is_visible()
    assert blind.page.locator("#losses svg[aria-label*=norm]").count() == 2
    captions = blind.page.locator("#viewer figcaption").all_text_contents()
    assert captions == ["damaged", "lam=0", "lam=1"]
    assert not [*one.errors, *blind.errors]
