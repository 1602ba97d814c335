"""The page of a training run: losses, D's scores, samples, comparison of epochs."""

import os
from pathlib import Path

from gan_inpaint.reporting.figures import losses_svg
from gan_inpaint.reporting.pages import about_run, write_page
from gan_inpaint.runtime.environment import collect_environment
from gan_inpaint.runtime.io import read_csv, read_table

_LOSSES = {"discriminator": "loss/d", "generator": "loss/g"}
_SCORES = {
    "training images": "logit/train",
    "held-out images": "logit/held_out",
    "generated images": "logit/fake",
}


def write_training_page(run: Path) -> None:
    """Write ``index.html`` of a training run; it shows the files beside it."""
    rows = read_table(run / "metrics.csv")
    samples = []
    files = {int(f.stem.removeprefix("epoch_")): f for f in (run / "samples").glob("epoch_*.png")}
    for epoch, file in sorted(files.items()):
        saved = (run / "checkpoints" / f"{file.stem}.ckpt").is_file()
        command = f"python -m gan_inpaint.select run={os.path.relpath(run)} epoch={epoch}"
        samples.append({"epoch": epoch, "file": file.name, "command": command if saved else ""})
    scored = any(row.get("logit/held_out") is not None for row in rows)
    compared = run / "select.csv"
    write_page(
        run / "index.html",
        "training",
        scripts=("training.js",),
        title=f"Training {run.parent.name}/{run.name}",
        about=about_run(run, "train", {"environment": collect_environment()}),
        losses=losses_svg(rows, _LOSSES, "minibatch", "loss"),
        scores=losses_svg(rows, _SCORES, "minibatch", "score", smoothed=False) if scored else "",
        samples=samples,
        epochs=read_csv(compared) if compared.is_file() else [],
    )
