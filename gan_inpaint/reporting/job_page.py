"""The page of a reconstruction: its figures, photographs, images and losses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_inpaint.reporting.columns import BASELINES
from gan_inpaint.reporting.figures import losses_svg
from gan_inpaint.reporting.grids import Gallery
from gan_inpaint.reporting.pages import about_run, short, write_page

_FIGURES = (
    *("images", "restarts", "seconds", "objective", "contextual", "perceptual", "psnr_hole"),
    *("psnr_hole_average", *(f"psnr_hole_{name}" for name in BASELINES)),
    *("feature_distance", "frechet_distance"),
)
_PHOTOGRAPHS = 24  # on a page


def write_job_page(
    directory: Path,
    summary: Mapping[str, Any],
    gallery: Gallery,
    history: Sequence[Mapping[str, float]],
    notes: Sequence[str],
) -> None:
    """Write ``index.html`` of a job; it shows the files beside it.

    Args:
        gallery: the job's images.
        history: the rows of its metrics.csv.
        notes: sentences on the results.
    """
    numbers, worst = gallery.chosen()
    rows = [_row(gallery, number, number in worst) for number in numbers]
    photographs = sorted(file for file in (directory / "restored").rglob("*.png") if file.is_file())
    curves = [
        losses_svg(history, {term: term}, "step", term, smoothed=False)
        for term in ("objective", "contextual", "perceptual")
        if any(row.get(term) is not None for row in history)
    ]
    write_page(
        directory / "index.html",
        "job",
        scripts=("job.js",),
        title=f"Reconstruction {directory.parent.name}/{directory.name}",
        about=about_run(directory, "reconstruct", summary),
        notes=notes,
        figures=[(key, short(summary[key])) for key in _FIGURES if summary.get(key) is not None],
        photographs=[_photograph(directory, file) for file in photographs[:_PHOTOGRAPHS]],
        more_photographs=max(len(photographs) - _PHOTOGRAPHS, 0),
        rows=rows,
        more=gallery.count - len(numbers),
        truth=any("psnr_hole" in gallery.row(number) for number in numbers),
        spread=any(
            picture["name"] == "disagreement" for row in rows for picture in row["pictures"]
        ),
        losses=curves,
    )


def _row(gallery: Gallery, number: int, worst: bool) -> dict[str, Any]:
    row = gallery.row(number)
    words = [f"{number}: {row['name']}"]
    if row.get("psnr_hole") is not None:
        words.append(f"{row['psnr_hole']:.1f} dB")
    if row.get("condition"):
        words.append(str(row["condition"]))
    if worst:
        words.append("among the worst")
    found = gallery.files(number)
    known = found.pop("known", None)
    pictures = [{"name": "damaged", "file": found["reconstructed"], "known": known}]
    pictures += [{"name": name, "file": file, "known": None} for name, file in found.items()]
    return {"number": number, "words": ", ".join(words), "pictures": pictures}


def _photograph(directory: Path, file: Path) -> dict[str, Any]:
    """A photograph's completions, the best first, and its hole, as paths within the directory."""
    name = file.relative_to(directory / "restored").with_suffix("").as_posix()
    files = [f"restored/{name}.png"]
    for rank in range(1, 100):
        other = f"restored_alternatives/{name}_{rank}.png"
        if not (directory / other).is_file():
            break
        files.append(other)
    hole = f"restored_holes/{name}.png"
    return {"name": name, "files": files, "hole": hole if (directory / hole).is_file() else None}
