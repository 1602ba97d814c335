import json
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "walkthrough.ipynb"


def test_the_notebook_runs_and_shows_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    """Cell by cell in this process: what it needs is Python, not a Jupyter kernel."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert sum(cell["cell_type"] == "code" for cell in cells) == 12
    assert len(pyplot.get_fignums()) == 4
    said = capsys.readouterr().out
    assert said.count("inside the hole") == 5
    assert said.count("lam*perceptual") == 6
    assert "recommended: epoch" in said
    assert "Highest mean hole PSNR" in said
    pyplot.close("all")
