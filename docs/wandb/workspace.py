"""Create the W&B workspace in which the runs of gan_inpaint are compared.

    pip install wandb-workspaces
    python docs/wandb/workspace.py ENTITY [PROJECT]

It needs an account; building it does not.
"""

import sys

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws


def workspace(entity: str, project: str) -> ws.Workspace:
    """Settings against hole PSNR, losses by lam, images side by side."""
    settings = [wr.ParallelCoordinatesPlotColumn(f"c::{key}") for key in ("lam", "lr", "norm")]
    result = wr.ParallelCoordinatesPlotColumn("psnr_hole")
    step = "search/step"
    losses = [
        wr.LinePlot(title=f"{name} by lam", x=step, y=[name], groupby="config.lam")
        for name in ("objective", "contextual", "perceptual")
    ]
    pictures = [
        wr.MediaBrowser(title="the search as it goes", media_keys=["search"]),
        wr.MediaBrowser(title="results", media_keys=["reconstructions"]),
        wr.MediaBrowser(title="samples of a training", media_keys=["samples"]),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="gan_inpaint: compare",
        sections=[
            ws.Section(
                name="Settings",
                panels=[
                    wr.ParallelCoordinatesPlot(columns=[*settings, result]),
                    wr.BarPlot(title="hole PSNR", metrics=["psnr_hole"]),
                ],
                is_open=True,
            ),
            ws.Section(name="Losses", panels=losses, is_open=True),
            ws.Section(name="Pictures", panels=pictures, is_open=True),
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python docs/wandb/workspace.py ENTITY [PROJECT]")
    print(workspace(sys.argv[1], (sys.argv[2:] or ["gan_inpaint"])[0]).save().url)
