"""A window on the desktop, through SDL (pygame): needs no system GL libraries."""

from __future__ import annotations

import os
import sys

from av.video.reformatter import VideoReformatter

from lrae.codec.avframe import to_av
from lrae.codec.types import Frame, VideoFormat
from lrae.errors import SinkError

HEADLESS_DRIVERS = ("dummy", "offscreen")


def check_display() -> None:
    """SinkError where no window can open. SDL is not touched: without a display it may end the process."""
    if os.environ.get("SDL_VIDEODRIVER") in HEADLESS_DRIVERS or not sys.platform.startswith("linux"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SinkError("no display here (DISPLAY and WAYLAND_DISPLAY are unset): use --output out.mp4")


class WindowSink:
    """Shows each frame at once; the caller decides when. A closed window takes frames and shows nothing."""

    def __init__(self, video: VideoFormat) -> None:
        check_display()
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would go to standard output
        try:
            import pygame
        except ImportError as error:
            raise SinkError("a window needs pygame: pip install pygame, or use --output out.mp4") from error
        self._pygame, self._video = pygame, video
        self._size = (video.width, video.height)
        self._scaler = VideoReformatter()
        self.wanted = True
        try:
            pygame.display.init()
            self._screen = pygame.display.set_mode(self._size, pygame.RESIZABLE)
        except pygame.error as error:
            raise SinkError(f"no window: {error}") from error

    def write(self, frame: Frame, info: str = "") -> None:
        if not self.wanted:
            return
        pygame = self._pygame
        try:
            if pygame.event.get(pygame.QUIT):
                self.close()
                return
            pygame.event.clear()
            width, height = self._screen.get_size()
            picture = to_av(frame, self._video)
            picture = self._scaler.reformat(picture, width, height, "rgb24", interpolation="BILINEAR")
            data = picture.to_ndarray()
            self._screen.blit(pygame.image.frombuffer(data.tobytes(), (width, height), "RGB"), (0, 0))
            pygame.display.set_caption(f"lrae-recv {info}".rstrip())
            pygame.display.flip()
        except pygame.error as error:
            raise SinkError(f"window: {error}") from error

    def close(self) -> None:
        if self.wanted:
            self.wanted = False
            self._pygame.display.quit()
