import csv
from pathlib import Path

import pytest

from gan_inpaint.runtime.io import atomic_write, read_csv, read_table, write_csv, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_csv_round_trip_with_awkward_names(tmp_path: Path) -> None:
    name = 'a "quoted", name\nwith <script>'
    write_csv(tmp_path / "t.csv", [{"name": name, "x": None}], ("name", "x"))
    assert read_csv(tmp_path / "t.csv") == [{"name": name, "x": ""}]


def test_json_has_no_infinity(tmp_path: Path) -> None:
    write_json(tmp_path / "t.json", {"psnr": float("inf"), "nan": float("nan"), "x": 1})
    assert (tmp_path / "t.json").read_text() == '{\n  "psnr": null,\n  "nan": null,\n  "x": 1\n}\n'


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1.png", "@a", "\t=1", "'=1", "''@", "'plain", "a=1", "", "'"]
)
def test_no_text_is_a_formula_and_all_is_read_back(name: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"name": name, "x": -0.5}], ("name", "x"))
    assert read_csv(tmp_path / "t.csv") == [{"name": name, "x": "-0.5"}]
    assert read_table(tmp_path / "t.csv", ("name",))[0]["x"] == -0.5
    with (tmp_path / "t.csv").open(newline="") as file:
        cell = list(csv.reader(file))[1][0]
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
