"""The table of results: nothing is lost in writing it down, whatever interrupts."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.errors import ConfigError, SinkError
from lrae.experiments.replay.table import COLUMNS, NAMES, Table, parse, read_rows, to_line, write_parquet
from lrae.experiments.viewing import Viewing

HEAD = ",".join(NAMES) + "\n"
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1)
OF_TYPE = {str: TEXT, int: st.integers(), float: st.floats(allow_nan=False), bool: st.booleans()}
ROW = st.fixed_dictionaries({column.name: st.none() | OF_TYPE[column.kind] for column in COLUMNS})


@given(st.lists(ROW, max_size=3))
def test_every_value_comes_back_as_it_was(rows):
    assert parse(HEAD + "".join(map(to_line, rows)), "x") == rows


@given(st.text())
def test_any_text_is_a_table_or_one_clear_error(text):
    for candidate in (text, HEAD + text):
        try:
            assert all(set(row) == set(NAMES) for row in parse(candidate, "x"))
        except ConfigError as error:
            assert str(error).startswith("x")


def test_a_line_that_was_not_finished_is_left_out():
    line = to_line({"run": "a", "codec": "h264", "psnr_yuv": 31.25})
    for cut in range(1, len(line)):
        assert parse(HEAD + line + line[:-cut], "x") == parse(HEAD + line, "x")


def test_an_error_of_several_lines_stays_on_one():
    assert to_line({"error": "one\ntwo,\r\n three"}).count("\n") == 1


def test_rows_are_added_and_put_in_order(tmp_path):
    table = Table(tmp_path, [{"run": "c", "codec": "h264"}])
    for run in "ab":
        table.add({"run": run, "codec": "vp8", "clean": True})
    assert [row["run"] for row in read_rows(tmp_path)] == ["c", "a", "b"]
    table.sort(["a", "b", "c"])
    assert [row["run"] for row in read_rows(tmp_path)] == ["a", "b", "c"]
    assert not list(tmp_path.glob("*.part"))


def test_the_columns_of_other_versions_are_borne():
    (row,) = parse("run,codec,novelty\na,h264,5\n", "x")
    assert row["run"] == "a" and row["psnr_yuv"] is None and "novelty" not in row


def test_a_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no results.csv here"):
        read_rows(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tmp_path):
    table = Table(tmp_path)
    (tmp_path / "results.csv").unlink()
    (tmp_path / "results.csv").symlink_to("/dev/full")
    with pytest.raises(SinkError, match="No space left"):
        table.add({"run": "a", "codec": "h264"})


def test_parquet_has_the_same_rows_with_units(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    Table(tmp_path, [{"run": "a", "codec": "h264", "psnr_yuv": math.pi, "frames": 7, "clean": False}])
    assert write_parquet(tmp_path)
    stored = parquet.read_table(tmp_path / "results.parquet")
    assert stored.to_pylist() == read_rows(tmp_path)
    assert stored.schema.field("psnr_yuv").metadata[b"unit"] == b"dB"


def test_every_column_has_a_meaning_and_figures_are_those_of_viewing():
    assert all(column.meaning for column in COLUMNS) and len(set(NAMES)) == len(NAMES)
    assert set(Viewing.__dataclass_fields__) <= set(NAMES)


def test_the_documentation_lists_every_column():
    text = (Path(__file__).parents[3] / "docs" / "replay.md").read_text()
    lines = {f"| `{column.name}` | {column.unit} | {column.meaning} |" for column in COLUMNS}
    assert lines <= set(text.splitlines())
