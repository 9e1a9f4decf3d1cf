"""A matrix is done whole whatever happens to its runs, and gives the same rows every time."""

import io
import json
import signal
from dataclasses import replace

import pytest
from rich.console import Console

from lrae.errors import ConfigError, LraeError, SourceError
from lrae.experiments.replay import charge, job, speed
from lrae.experiments.replay.charge import Calibration, Charge
from lrae.experiments.replay.folder import Folder, frames_path, read_jobs
from lrae.experiments.replay.main import main
from lrae.experiments.replay.matrix import plan
from lrae.experiments.replay.run import Clock, complete
from lrae.experiments.replay.table import NAMES, VARYING, parse, read_rows
from lrae.experiments.replay.workers import Cluster, Died, Here, Processes
from lrae.experiments.viewing import FrameRow

CONSOLE = Console(quiet=True)


class Stopping(Here):
    """Ctrl-C after so many tasks."""

    def __init__(self, after):
        self._after = after

    def map(self, function, tasks):
        yield from super().map(function, tasks[: self._after])
        raise KeyboardInterrupt


class Dying(Here):
    """The first task kills its process."""

    def map(self, function, tasks):
        yield tasks[0], Died("the process that ran it died")
        yield from super().map(function, tasks[1:])


class Idle(Here):
    """Nothing is to be measured any more."""

    def map(self, function, tasks):
        assert not tasks
        yield from ()


@pytest.fixture
def do(matrix_of, tmp_path):
    """do(matrix, …) -> (exit code, folder). resume, workers and so on: as complete() takes them."""

    def make(matrix=None, name="out", resume=False, workers=None, measuring=None, **options):
        matrix = matrix or matrix_of()
        jobs = plan(matrix)[0]
        folder = Folder(tmp_path / name, jobs, {}, resume)
        return complete(folder, jobs, matrix, workers or Here(), measuring or Here(), CONSOLE, **options), folder.path

    return make


def stable(folder):
    """The table without what may differ between two runs."""
    keep = [name for name in NAMES if name not in (*VARYING, "commit")]  # the checkout may change meanwhile
    return [[row[name] for name in keep] for row in read_rows(folder)]


def test_same_seed_same_rows(do, matrix_of):
    code, one = do(name="one")
    assert code == 0
    _, two = do(name="two")
    assert stable(one) == stable(two)
    _, three = do(matrix_of(changes=[("retransmit", "seeds = 1\nretransmit")]), name="three")
    assert stable(one)[0][1:] != stable(three)[0][1:]


def test_a_row_says_what_was_run_and_what_came_of_it(do):
    row = read_rows(do()[1])[1]
    known = {"sequence": "synthetic:64x48@25x8", "codec": "h264", "bitrate_kbps": 100.0, "loss": "20%"}
    known |= {"loss_rate": 0.2, "rtt_ms": 40.0, "retransmit": False, "fec": "none", "seed": 0}
    known |= {"width": 64, "fps": 25.0, "frames": 8}
    known |= {"encode_ms": 5.0, "decode_ms": 1.0, "replay_ms": None, "error": None, "model": "libx264"}
    assert known.items() <= row.items()
    assert row["psnr_yuv"] > 20 and row["commit"] is not None and row["date"]


def test_a_run_that_fails_is_a_row_and_the_others_go_on(do, monkeypatch):
    real = job.play

    def play(clip, setup, network, *rest):
        if network.loss == "none":
            raise MemoryError("no memory\nleft")
        return real(clip, setup, network, *rest)

    monkeypatch.setattr(job, "play", play)
    code, path = do()
    failed, good = read_rows(path)
    assert code == 1 and failed["error"] == "MemoryError: no memory left" and failed["psnr_yuv"] is None
    assert good["error"] is None and good["psnr_yuv"] > 20
    monkeypatch.undo()
    code, path = do(resume=True)
    assert code == 0 and [row["error"] for row in read_rows(path)] == [None, None]


def test_a_session_that_never_began_is_a_failure(jobs_of):
    (run,) = jobs_of(changes=[('"none", "20%"', '"all"')])
    assert "the session never began" in job.run_job(run, Charge(0.005, 0.001)).row["error"]


def test_a_process_that_dies_costs_its_own_run(do):
    code, path = do(workers=Dying())
    errors = [row["error"] for row in read_rows(path)]
    assert code == 1 and errors == ["the process that ran it died, or it took 600 s", None]


def test_what_was_interrupted_goes_on_and_ends_the_same(do):
    _, whole = do(name="whole")
    assert do(workers=Stopping(1)) == (130, whole.with_name("out"))
    path = whole.with_name("out")
    assert len(read_rows(path)) == 1 and len(read_jobs(path)) == 2
    with (path / "results.csv").open("a") as file:
        file.write("half a li")
    with pytest.raises(ConfigError, match="has results already: --resume"):
        do()
    assert do(resume=True) == (0, path)
    assert stable(path) == stable(whole)


def test_a_limit_leaves_the_rest_for_later(do):
    code, path = do(limit=0.0)
    assert code == 0 and len(read_rows(path)) == 1
    assert do(resume=True)[0] == 0 and len(read_rows(path)) == 2


def test_without_a_terminal_lines_say_how_far_it_is(monkeypatch):
    monkeypatch.setattr("lrae.experiments.replay.run.TELL_EVERY", 0.0)
    console = Console(file=io.StringIO())
    Clock(console, 4).tell(3)
    assert console.file.getvalue() == "3 of 4 runs, about 0 min left\n"


def test_a_matrix_may_grow_but_not_shrink(do, matrix_of):
    _, path = do()
    larger = matrix_of(changes=[('"20%"', '"20%", "30%"')])
    assert do(larger, resume=True, measuring=Idle())[0] == 0
    assert [row["loss"] for row in read_rows(path)] == ["none", "20%", "30%"]
    with pytest.raises(ConfigError, match="2 results that this matrix has not"):
        do(matrix_of(changes=[('"none", "20%"', '"30%"')]), resume=True)


def test_the_log_of_frames_has_a_line_for_each_instant(do):
    _, path = do(frames_log=True)
    for run in read_jobs(path):
        lines = [json.loads(line) for line in frames_path(path, run).read_text().splitlines()]
        assert [line["index"] for line in lines] == list(range(8))
        assert list(lines[0]) == list(FrameRow.__dataclass_fields__)


def test_codecs_are_measured_once_and_what_cannot_be_measured_fails_alone(do, matrix_of, tmp_path):
    toml = """
        sequences = ["synthetic:64x48@25x8"]
        codecs = ["h264", "av1"]
        bitrates = ["100k"]
        retransmit = false
    """
    code, path = do(matrix_of(toml))
    assert code == 1
    first, second = read_rows(path)  # SVT-AV1 has a least size
    assert first["encode_ms"] > 0 and first["error"] is None
    assert second["codec"] == "av1" and "64x48" in second["error"]
    assert "h264 64x48" in Calibration(path)
    again = matrix_of(toml.replace('["h264", "av1"]', '"h264"').replace("retransmit = false", ""))
    (path / "results.csv").unlink()
    code, _ = do(again, measuring=Idle())
    assert code == 0 and {row["encode_ms"] for row in read_rows(path)} == {first["encode_ms"]}
    (path / charge.FILE).write_text("[]")
    with pytest.raises(ConfigError, match="not a calibration"):
        Calibration(path)


def test_a_clip_that_vanishes_costs_its_own_runs(do, jobs_of, matrix_of, monkeypatch):
    def load(footage, folder=None):
        raise SourceError(f"{footage.source}: gone")

    monkeypatch.setattr(job, "load", load)
    code, path = do()
    assert code == 1 and {row["error"] for row in read_rows(path)} == {"SourceError: synthetic:64x48@25x8: gone"}


def test_the_bitrate_is_kept_with_all_its_headers(jobs_of):
    (run,) = jobs_of(changes=[("64x48@25x8", "160x96@25x250"), (', "20%"', "")])
    row = job.run_job(replace(run, condition=replace(run.condition, fec="block:50")), Charge(0.005, 0.001)).row
    assert "error" not in row and row["kbps"] == pytest.approx(100, rel=0.06)
    assert row["parity_kbps"] > 20


def test_a_run_that_misses_its_bitrate_is_done_again_with_a_rate_that_makes_up_for_it(matrix_of, monkeypatch, tiny):
    told, shares = [], iter((1.25, 0.9, 1.01, 1.5))

    def play(clip, setup, *args):
        told.append(setup.bitrate)
        return None

    monkeypatch.setattr(job, "play", play)
    monkeypatch.setattr(job, "bits_by_kind", lambda outcome, seconds: {"kbps": 100 * next(shares)})
    (run,) = plan(matrix_of("equal_bits = 0.03\n" + tiny, [(', "20%"', "")]))[0]
    played = job.play_job(run, Charge(0.005, 0.001))
    assert told == [100_000, 80_000, pytest.approx(88_889)] and played.told == told[-1]
    assert job.Job.from_json(run.to_json()) == run
    assert job.play_job(replace(run, equal_bits=0.0), Charge(0.005, 0.001)).told == 100_000


def test_recorded_round_trips_delay_what_is_on_screen(matrix_of, tiny, tmp_path):
    (tmp_path / "pings.csv").write_text("0,60\n100,60\n")
    matrix = matrix_of("pings = ['none', 'pings.csv']\n" + tiny, [(', "20%"', "")])
    plain, recorded = (job.run_job(run, Charge(0.005, 0.001)).row for run in plan(matrix)[0])
    assert (plain["pings"], recorded["pings"]) == ("none", "pings.csv")
    for column in ("delay_p50_ms", "viewing_delay_ms"):
        assert recorded[column] - plain[column] == pytest.approx(30)
    assert recorded["psnr_yuv"] == plain["psnr_yuv"]
    with pytest.raises(LraeError, match=r"missing\.csv"):
        plan(matrix_of("pings = 'missing.csv'\n" + tiny))


def test_clips_do_not_meet_the_same_losses(jobs_of):
    first, second = jobs_of(changes=[("8\"]", "8\", \"synthetic:64x48@25x9\"]"), ('"none", ', "")])
    assert job.seed_of(first) == job.seed_of(first) != job.seed_of(second)


def test_one_codec_can_be_run_before_the_others(tmp_path, capsys, tiny):
    file, out = tmp_path / "two.toml", str(tmp_path / "out")
    file.write_text(tiny.replace('["h264"]', '["h264", "vp8"]').replace("h264 =", "vp8 = [5, 1]\nh264 ="))
    assert main(["run", str(file), "--out", out, "--codecs", "vp8"]) == 0
    assert {row["codec"] for row in read_rows(tmp_path / "out")} == {"vp8"}
    assert main(["run", str(file), "--out", out, "--codecs", "h264", "--resume"]) == 0
    assert [row["codec"] for row in read_rows(tmp_path / "out")] == ["h264", "vp8"] * 2
    assert main(["run", str(file), "--out", out, "--codecs", "av1", "--resume"]) == 1
    assert "no codec 'av1' in this matrix; there are h264, vp8" in capsys.readouterr().err


def test_processes_do_their_tasks_and_one_that_kills_its_process_is_found():
    harmless, deadly = signal.SIGURG, signal.SIGKILL
    with Processes(2) as workers:
        results = list(workers.map(signal.raise_signal, [harmless, deadly, harmless]))
    died = [isinstance(result, Died) for task, result in results if task is deadly]
    lived = [result for task, result in results if task is harmless]
    assert died == [True] and lived == [None, None]


def test_a_run_that_takes_too_long_is_ended_and_recorded_and_the_others_are_done(do, matrix_of, tiny):
    long = tiny.replace("[codec_ms]", "[[runs]]\nlosses = 'none'\n[[runs]]\nseconds = 3000\n[codec_ms]")
    matrix = matrix_of(long, [('losses = ["none", "20%"]', "losses = 'none'")])
    code, path = do(matrix, workers=Processes(1), run_limit=1)
    found = {bool(row["error"]): row for row in read_rows(path)}
    assert code == 1 and found[False]["frames"] == 8
    assert found[True]["error"] == "the process that ran it died, or it took 1 s"


def test_the_speed_of_a_matrix_is_measured_with_and_without_kept_encodes(monkeypatch):
    for name, value in (("SECONDS", 0.3), ("LOSSES", ("none",)), ("REDUNDANCY", ("none",))):
        monkeypatch.setattr(speed, name, value)
    result = speed.measure("synthetic:96x64@25x8", 1)
    assert set(result) == {"new", "kept"}
    for figures in result.values():
        assert figures["runs"] == 2 * len(speed.NAMES) and figures["session_seconds_per_second"] > 0
        assert figures["session_seconds"] == pytest.approx(0.32 * figures["runs"])


def test_the_smoke_matrix_runs_whole_on_a_small_clip(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["run", "smoke", "--clips", "synthetic:96x64@10x8", "--out", str(out)]
    assert main(command) == 0
    rows = read_rows(out)
    assert len(rows) == len(read_jobs(out)) == 27
    assert {(row["codec"], row["fec"]) for row in rows if row["codec"] == "lrae"} == {("lrae", "auto")}
    assert all(row["error"] is None and row["psnr_yuv"] > 20 and row["encode_ms"] > 0 for row in rows)
    assert parse((out / "results.csv").read_text(), "x") == rows
    assert main(command) == 1
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0


def test_a_dask_cluster_of_two_workers_gives_the_same_rows(do, matrix_of):
    distributed = pytest.importorskip("distributed")
    _, here = do(name="here")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with distributed.LocalCluster(**options) as cluster, Cluster(cluster.scheduler_address) as workers:
        code, there = do(name="there", workers=workers)
    assert code == 0 and stable(here) == stable(there)


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("lrae.experiments.replay.workers.CONNECT", 0.2)
    with pytest.raises(ConfigError, match=r"--scheduler tcp://127\.0\.0\.1:1"):
        Cluster("tcp://127.0.0.1:1")
