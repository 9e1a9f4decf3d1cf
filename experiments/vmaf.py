"""VMAF by ffmpeg's libvmaf, as a process of its own: pictures through a pipe, scores back in a file.

The ffmpeg is that of the imageio-ffmpeg wheel (bench extra), else the one on the path. The wheel's is under the GPL;
nothing of it is linked or imported here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lrae.codec.types import Frame, VideoFormat
from lrae.codec.y4m import frame_bytes, header

MODEL = "vmaf_v0.6.1"  # Netflix's default, for 1080p on a television at three heights; compared, not read absolutely
LIMIT, PIXELS_PER_SECOND = 30.0, 1e6  # a run may take so many seconds, and one more for so many luma samples
CHECK_SECONDS = 20.0
SCORES, ERRORS = "scores.json", "errors.txt"

# one stream carries both clips, picture by picture, the reference first: no second pipe, no files of raw video
GRAPH = (
    "[0:v]split[a][b];"
    "[a]select='not(mod(n,2))',setpts=N/FRAME_RATE/TB[reference];"
    "[b]select='mod(n,2)',setpts=N/FRAME_RATE/TB[test];"
    f"[test][reference]libvmaf=model=version={MODEL}:n_threads=1:log_fmt=json:log_path={SCORES}"
)


@cache
def find_ffmpeg() -> str | None:
    """The program, wherever it comes from; None if there is none."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # not installed; installed without a binary for this system
        return shutil.which("ffmpeg")


@cache
def missing() -> str | None:
    """Why there is no VMAF here, one line for people; None if there is."""
    program = find_ffmpeg()
    if program is None:
        return "no VMAF: no ffmpeg found (pip install imageio-ffmpeg)"
    try:
        listed = subprocess.run(
            [program, "-hide_banner", "-filters"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"no VMAF: {program} does not run: {error}"
    if " libvmaf " not in listed:
        return f"no VMAF: {program} was built without libvmaf (pip install imageio-ffmpeg)"
    return None


def vmaf(references: Sequence[Frame], tests: Sequence[Frame], video: VideoFormat) -> list[float] | None:
    """VMAF of each picture, 0 to 100. video: of both clips.

    None, with a RuntimeWarning of one line, where ffmpeg is missing, lacks libvmaf, fails or takes too long.
    """
    if len(references) != len(tests):
        raise ValueError(f"{len(references)} references but {len(tests)} pictures")
    reason = missing()
    if reason is None:
        try:
            return _run(find_ffmpeg(), references, tests, video)
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            reason = f"no VMAF of this clip: {error}"
    warnings.warn(reason, RuntimeWarning, stacklevel=2)
    return None


def _run(program: str, references: Sequence[Frame], tests: Sequence[Frame], video: VideoFormat) -> list[float]:
    limit = LIMIT + len(references) * video.width * video.height / PIXELS_PER_SECOND
    command = [program, "-hide_banner", "-loglevel", "error", "-nostats", "-threads", "1", "-f", "yuv4mpegpipe"]
    command += ["-i", "pipe:0", "-filter_complex_threads", "1", "-filter_complex", GRAPH, "-f", "null", "-"]
    with tempfile.TemporaryDirectory(prefix="lrae-vmaf-") as folder:
        errors = Path(folder, ERRORS)
        with errors.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
            )
        watchdog = threading.Timer(limit, process.kill)
        watchdog.start()
        try:
            _feed(process, references, tests, video)
            code = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
        if code != 0:
            said = errors.read_text("utf-8", "replace").strip().splitlines()
            raise ValueError(said[-1] if said else f"ffmpeg ended with {code} (allowed: {limit:.0f} s)")
        found = json.loads(Path(folder, SCORES).read_text())["frames"]
    if len(found) != len(references):
        raise ValueError(f"{len(found)} scores for {len(references)} pictures")
    return [float(frame["metrics"]["vmaf"]) for frame in found]


def _feed(process: subprocess.Popen, references: Sequence[Frame], tests: Sequence[Frame], video: VideoFormat) -> None:
    """Writes both clips; a process that has ended meanwhile says why by itself."""
    try:
        with process.stdin as pipe:
            pipe.write(header(video))
            for pair in zip(references, tests, strict=True):
                for picture in pair:
                    pipe.write(frame_bytes(picture))
    except BrokenPipeError:
        pass
