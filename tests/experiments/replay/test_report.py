"""lrae-replay report: made-up rows whose crossover is known, and what a stranger may hand it instead."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrae.errors import ConfigError, LraeError
from lrae.experiments.replay import main, report_sessions
from lrae.experiments.replay.charge import Charge
from lrae.experiments.replay.folder import FRAMES, JOBS, frames_path
from lrae.experiments.replay.footage import Footage, find
from lrae.experiments.replay.job import Condition as JobCondition
from lrae.experiments.replay.job import Job, run_job
from lrae.experiments.replay.report_checks import gaps, unequal_bits
from lrae.experiments.replay.report_compare import crossover, headline, make_cells, make_contests
from lrae.experiments.replay.report_plots import accuracy_plot
from lrae.experiments.replay.report_rates import rate_curves
from lrae.experiments.replay.report_rows import Condition, Run, read_runs
from lrae.experiments.replay.report_session_plots import still_pictures
from lrae.experiments.replay.report_style import spread
from lrae.experiments.replay.table import ACCURACY, RESULTS, Table

SEQUENCES = ("a", "b", "c", "d", "e", "f")
LOSSES = {"none": 0.0, "0.05": 0.05, "10%": 0.1, "0.2": 0.2}
# Quality over the loss rate p. The best redundancy of h264 is none below p = 0.1 and block:50 above it, so LRAE's
# lead is -1, 0.5, 1.75, 2.5 dB at p = 0, 0.05, 0.1, 0.2 and the crossover at 0.05 * 1 / 1.5.
QUALITY = {
    ("lrae", "auto"): lambda p: 35 - 10 * p,
    ("h264", "none"): lambda p: 36 - 40 * p,
    ("h264", "block:50"): lambda p: 34 - 17.5 * p,
    ("vp8", "none"): lambda p: 30 - 40 * p,
}
CROSSOVER = 0.05 / 1.5


def made_row(sequence, codec, fec, loss, psnr, **changed):
    lrae = codec == "lrae"
    row = {
        "run": f"{sequence}-{codec}-{fec}-{loss}-{changed.get('seed', 0)}-{changed.get('bitrate_kbps', 400.0)}",
        "sequence": sequence,
        "codec": codec,
        "bitrate_kbps": 400.0,
        "loss": loss,
        "rate": "unlimited",
        "rtt_ms": 150.0,
        "deadline_ms": 150.0,
        "queue_bytes": 65536,
        "fec": fec,
        "retransmit": lrae,
        "seed": 0,
        "psnr_yuv": psnr,
        "ssim_db": None if psnr is None else psnr - 20,
        "kbps": 404.0,
        "frames": 60,
        "seconds": 2.0,
        "frozen": 0 if lrae else 6,
        "stall_s": 0.0 if lrae else 0.5,
        "delay_p98_ms": 180.0 if lrae else 250.0,
        "version": "1",
    }
    return row | changed


def made_rows(**changed):
    return [
        made_row(sequence, codec, fec, loss, quality(p) + number, **changed)
        for (codec, fec), quality in QUALITY.items()
        for loss, p in LOSSES.items()
        for number, sequence in enumerate(SEQUENCES)
    ]


def contest_of(tmp_path, rows, measure="psnr_yuv"):
    Table(tmp_path, rows)
    (found,) = make_contests(make_cells(read_runs(tmp_path)[0], measure))
    return found


@pytest.mark.parametrize(
    ("leads", "expected"),
    [
        ([-1, -1, -1], None),
        ([1, 1, -1], None),
        ([1, 1, 1], 0.0),
        ([-1, 1, 2], 0.05),
        ([-1, 3, 2], 0.025),
        ([1, -1, 3], 0.125),  # ahead, behind and ahead again: only the last change counts
        ([0, 1, 1], 0.0),
        ([1, 1, 0], None),  # a tie is not ahead
    ],
)
def test_crossover_is_where_the_lead_begins_for_good(leads, expected):
    assert crossover([0, 0.1, 0.2], leads) == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.integers(-10, 10), min_size=1, max_size=8))
def test_lrae_is_ahead_at_every_measured_rate_above_the_crossover_and_behind_just_below(leads):
    rates = [0.1 * index for index in range(len(leads))]
    found = crossover(rates, leads)
    above = [lead for rate, lead in zip(rates, leads, strict=True) if found is not None and rate > found]
    assert all(lead > 0 for lead in above)
    if found is None:
        assert not leads[-1] > 0
    elif found > 0:
        assert not max((rate, lead) for rate, lead in zip(rates, leads, strict=True) if rate <= found)[1] > 0


def test_every_codec_is_credited_with_the_redundancy_whose_mean_is_best(tmp_path):
    contest = contest_of(tmp_path, made_rows())
    assert contest.rates == [0, 0.05, 0.1, 0.2]
    assert [cell.best_other().redundancy for cell in contest.cells] == ["none", "none", "block:50", "block:50"]
    assert [cell.unprotected().redundancy for cell in contest.cells] == ["none"] * 4
    assert contest.crossover == pytest.approx(CROSSOVER)


def test_redundancy_is_chosen_for_each_measure_apart(tmp_path):
    rows = made_rows()
    for row in rows:
        if row["fec"] == "block:50":
            row["ssim_db"] = 30.0  # above all else, whatever is lost
    contest = contest_of(tmp_path, rows, "ssim_db")
    assert {cell.best_other().redundancy for cell in contest.cells} == {"block:50"}
    assert contest.crossover is None


def test_equal_sequences_have_an_interval_of_one_point_and_few_have_none(tmp_path):
    contest = contest_of(tmp_path, made_rows())  # sequences differ by a constant: every draw has the same leads
    assert contest.crossover_interval() == pytest.approx((CROSSOVER, CROSSOVER))
    assert contest.lead_intervals()[-1] == pytest.approx((2.5, 2.5))
    few = contest_of(tmp_path, [row for row in made_rows() if row["sequence"] in "abc"])
    assert few.crossover_interval() is None and few.crossover == pytest.approx(CROSSOVER)


def test_interval_says_where_lrae_may_never_get_ahead(tmp_path):
    rows = made_rows()
    for row in rows:
        if row["codec"] == "lrae" and row["sequence"] in "ab":
            row["psnr_yuv"] -= 8
    low, high = contest_of(tmp_path, rows).crossover_interval()
    assert high is None and low is not None


def test_codecs_are_compared_over_the_sequences_that_all_have(tmp_path):
    rows = [row for row in made_rows() if (row["codec"], row["sequence"]) != ("h264", "f")]
    partial = [row for row in rows if (row["fec"], row["sequence"]) != ("block:50", "e")]
    cells = contest_of(tmp_path, partial).cells
    assert {cell.sequences for cell in cells} == {tuple("abcde")}
    assert {len(entry.runs) for cell in cells for entry in cell.entries} == {5}
    assert {cell.oracle("h264").redundancy for cell in cells} == {"none"}  # block:50 has not all five


def test_bits_further_off_than_three_percent_are_listed(tmp_path):
    rows = made_rows()
    for row in rows:
        if row["codec"] == "vp8" and row["loss"] == "0.2":
            row["kbps"] = 420.0
    (found,) = unequal_bits(contest_of(tmp_path, rows).cells)
    assert (found["codec"], found["loss"], found["off"]) == ("vp8", "0.2", pytest.approx(0.05))


def test_bd_rate_of_twice_the_bits_is_one_hundred_percent_and_is_never_extrapolated(tmp_path):
    def curves(lrae, rates=(100, 200, 400, 800)):
        rows = [
            made_row("a", codec, "none", "none", float(quality(rate)), bitrate_kbps=float(rate), kbps=float(rate))
            for codec, quality in (("lrae", lrae), ("h264", lambda rate: 10 + 3 * np.log2(rate)))
            for rate in rates
        ]
        Table(tmp_path, rows)
        return rate_curves(make_cells(read_runs(tmp_path)[0], "psnr_yuv"))[0]

    assert curves(lambda rate: 10 + 3 * np.log2(rate / 2)).bd_rates["h264"] == pytest.approx(100, abs=1)
    assert curves(lambda rate: 60 + 3 * np.log2(rate)).verdicts["h264"] == "no overlap"
    assert "fewer" in curves(lambda rate: 10 + 3 * np.log2(rate), (100, 200, 400)).verdicts["h264"]


def test_headline_is_the_condition_of_the_target_or_the_nearest(tmp_path):
    rows = [row for kbps in (200.0, 400.0, 800.0) for rtt in (40.0, 150.0)
            for row in made_rows(bitrate_kbps=kbps, rtt_ms=rtt)]  # fmt: skip
    Table(tmp_path, rows)
    contests = make_contests(make_cells(read_runs(tmp_path)[0], "psnr_yuv"))
    assert headline(contests) == Condition(400.0, 150.0, 150.0)
    assert headline([one for one in contests if one.condition.kbps == 800]).kbps == 800


def job(sequence, loss):
    condition = JobCondition("lrae", 400_000, "auto", True, loss, "unlimited", 150.0, 0.0, "none", 65536, 150.0, 0)
    return Job(Footage(sequence, f"{sequence}.mp4", "0" * 16), condition, "m", ("psnr_yuv",), ".")


def test_what_the_matrix_lacks_is_counted_by_codec_condition_and_loss():
    jobs = {one.run: one for one in (job("a", "none"), job("b", "none"), job("a", "0.1"))}
    first, _, third = jobs
    at = Condition(400.0, 150.0, 150.0)
    runs = [Run("a", "lrae", at, "none", "auto", 0, {}, "", {"run": name}) for name in (first, third)]
    (gap,) = gaps(runs, jobs)
    assert (gap["codec"], gap["loss"], gap["runs"], gap["expected"]) == ("lrae", "none", 1, 2)


def test_labels_are_spread_without_changing_their_order_or_their_mean():
    assert spread([0, 1, 30], 10) == [-4.5, 5.5, 30]
    assert spread([0, 20, 40], 10) == [0, 20, 40]


class Page(HTMLParser):
    """Tags and their attributes; everything that a page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """(folder, JSON, page) of a made-up matrix with bursts, failed runs, logs of instants and a missing run."""
    folder = tmp_path_factory.mktemp("matrix")
    rows = made_rows()
    rows += [made_row(s, c, f, "ge:tambur", q(0.04)) for (c, f), q in QUALITY.items() for s in SEQUENCES]
    rows += [made_row("a", "lrae", "auto", "none", 33.0 + k, bitrate_kbps=k * 200.0, kbps=k * 200.0) for k in (1, 4)]
    rows += [made_row("a", "h264", "none", "none", 34.0 + k, bitrate_kbps=k * 200.0, kbps=k * 200.0) for k in (1, 4)]
    rows += [made_row("a", "vp8", "block:25", "none", None, error="SourceError: <b>gone</b>")]
    Table(folder, rows)
    missing = job("a", "0.5")
    (folder / JOBS).write_text(missing.to_json() + "\n")
    (folder / FRAMES).mkdir()
    instant = {"index": 0, "received": 1, "packets": 2, "size": 9, "psnr_yuv": 33.0, "state": "frozen", "source": 0}
    for row in rows:
        times = [{**instant, "time": k / 30, "delay": 0.1 + k / 1000} for k in range(12)]
        frames_path(folder, row["run"]).write_text("".join(json.dumps(one) + "\n" for one in times))
    assert main.main(["report", str(folder), "--json", str(folder / "r.json"), "--no-rerun"]) == 0
    return folder, json.loads((folder / "r.json").read_text()), (folder / "report" / "report.html").read_text()


def test_json_has_the_crossover_of_every_condition_and_measure(reported):
    crossovers = reported[1]["crossover_loss"]
    name = "400 kbit/s, RTT 150 ms, deadline 150 ms"
    assert crossovers == {f"{name}, {measure}": pytest.approx(CROSSOVER) for measure in ("psnr_yuv", "ssim_db")}
    assert [row["lead"] for row in reported[1]["leads"][:4]] == pytest.approx([-1, 0.5, 1.75, 2.5])
    assert {row["redundancy"] for row in reported[1]["quality"] if row["codec"] == "lrae"} == {"auto+NACK"}


def test_page_needs_nothing_but_itself(reported):
    page = Page(reported[2])
    assert all(text.startswith(("#", "data:")) for text in page.fetched)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import", reported[2])
    assert "prefers-color-scheme" in reported[2] and "width=device-width" in reported[2]


def test_every_picture_has_a_caption_with_its_command_and_a_png_beside_the_page(reported):
    folder, _, text = reported
    pictures = re.findall(r"<figure.*?</figure>", text, flags=re.S)
    files = list((folder / "report").glob("*.png"))
    assert len(pictures) == len(files) >= 9
    assert all("lrae-replay report" in picture.partition("<figcaption>")[2] for picture in pictures)
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in files)
    kinds = {path.name.partition("-")[0].removesuffix(".png") for path in files}
    assert kinds == {"quality", "frozen", "stalls", "delay", "delays", "timeline", "rate", "bursts"}


def test_colours_follow_the_scheme_of_the_reader(reported):
    plots = "".join(re.findall(r"<svg.*?</svg>", reported[2], flags=re.S))
    assert "var(--lrae)" in plots and "var(--ink)" in plots
    assert "#d24b00" not in plots


def test_exceptions_are_told_and_escaped(reported):
    _, result, text = reported
    assert len(result["failed"]) == len(result["missing"]) == 1
    assert "SourceError: &lt;b&gt;gone" in text and "<b>gone" not in text
    assert "Of the matrix 1 run did not succeed" in text and "Total bits are equal within 3%" in text


def test_accuracy_is_drawn_where_rows_have_it(tmp_path):
    contest = contest_of(tmp_path, made_rows())
    assert accuracy_plot(contest, tmp_path, "actions") is None
    for cell in contest.cells:
        for run in cell.oracle("lrae").runs:
            run.figures[ACCURACY] = 0.9
    assert "svg" in accuracy_plot(contest, tmp_path, "actions").svg


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([made_row("a", "lrae", "auto", "none", 30.0)], "nothing to compare"),
        ([made_row("a", "h264", "none", "none", 30.0)], "no run of codec lrae"),
        ([made_row("a", "lrae", "auto", "none", None, error="boom")], "all 1 runs failed; the first: boom"),
        ([made_row("a", "lrae", "auto", "none", None, ssim_db=None)], "none of the columns psnr_yuv"),
        ([made_row("a", "lrae", "auto", "none", 30.0, seed=None)], "column seed is missing"),
        ([made_row("a", "lrae", "auto", "none", 30.0)] * 2 + [made_row("a", None, "auto", "none", 30.0)], "no codec"),
        ([made_row("a", codec, "none", "7 %% %", 30.0) for codec in ("lrae", "vp8")], "loss"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_line(tmp_path, capsys, rows, message):
    Table(tmp_path, rows)
    assert main.main(["report", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1


def test_no_folder_no_table_and_a_table_of_something_else_are_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        read_runs(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=RESULTS):
        read_runs(tmp_path)
    (tmp_path / RESULTS).write_text("name,price\ntea,3\n")
    with pytest.raises(ConfigError, match="not results of lrae-replay"):
        read_runs(tmp_path)


def test_a_matrix_with_one_loss_rate_is_reported_without_a_crossover(tmp_path, capsys):
    Table(tmp_path, [row for row in made_rows() if row["loss"] == "none"])
    assert main.main(["report", str(tmp_path), "--json", str(tmp_path / "r.json"), "--no-rerun"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["crossover_loss"] == {}
    assert "no crossover" in capsys.readouterr().out


def test_a_session_that_is_run_again_must_give_what_it_gave(tmp_path):
    (clip,) = find(("synthetic:64x48@30",), None, 0.4)
    at = JobCondition("h264", 100_000, "none", True, "0.1", "unlimited", 40.0, 0.0, "none", 65536, 150.0, 3)
    again = Job(clip, at, "", ("psnr_yuv",), ".")
    Table(tmp_path, [run_job(again, Charge(0.01, 0.005)).row])
    (tmp_path / JOBS).write_text(again.to_json() + "\n")
    (run,), _ = read_runs(tmp_path)
    replay = report_sessions.replay(tmp_path, run)
    assert len(replay.pictures) == len(replay.clip) == len(replay.instants) == 12
    stills = still_pictures(report_sessions.Pair(run, run), replay, replay, tmp_path)
    assert [path.name for path in sorted(tmp_path.glob("still*.png"))] == [f"{one.name}.png" for one in stills]
    assert stills[0].svg.count("data:image/png") == 3
    with pytest.raises(LraeError, match="when the matrix was run"):
        report_sessions.replay(tmp_path, replace(run, figures={"psnr_yuv": run.figures["psnr_yuv"] + 1}))
    (tmp_path / JOBS).write_text("")
    with pytest.raises(LraeError, match="not in the folder's list"):
        report_sessions.replay(tmp_path, run)
