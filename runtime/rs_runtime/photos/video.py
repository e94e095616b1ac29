"""Frames of camera-trap videos, evenly over each video.  Needs PyAV: the extra ``[video]``."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError, reason
from rs_runtime.photos.folder import file_head
from rs_runtime.photos.formats import HEAD_BYTES, can_read, unsupported_kind
from rs_runtime.photos.photo import MAX_PHOTO_PIXELS
from rs_runtime.photos.stored import photo_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["sample_video"]

T = TypeVar("T")

# The readers of FFmpeg that may open a file, by its first bytes; else it is "mov".  Others, of
# playlists for example, would open further files that its content names.
_READERS = {
    b"RIFF": "avi",
    b"\x1a\x45\xdf\xa3": "matroska",
    b"\0\0\1\xba": "mpeg",
    b"0&\xb2u": "asf",
}
_MOST_PACKETS = 2_000_000


def sample_video(
    source: Path | bytes, count: int, use: Callable[[NDArray[np.uint8]], T]
) -> tuple[list[T], str | None]:
    """Return ``use`` of up to ``count`` frames, from the middles of as many equal parts of a video.

    Parameters
    ----------
    source
        A file, or a file's bytes: MP4, MOV, AVI, Matroska, WebM, MPEG or ASF.
    count
        At least 1.  A video with fewer frames gives each once.
    use
        Called with each frame: uint8, (height, width, 3), RGB, turned upright as the video says.

    Returns
    -------
    found
        At least one.
    note
        What is missing of a damaged video that gave some frames, None where nothing is.

    Raises
    ------
    UnreadablePhotoError
        PyAV is not installed, or the video is damaged or holds no frames.
    PhotoTooLargeError
        A frame has more than 200 megapixels.
    """
    where = photo_name(source)
    head = source[:HEAD_BYTES] if isinstance(source, bytes) else file_head(source)
    if not can_read("video"):
        raise UnreadablePhotoError(f"{where} {unsupported_kind(head)}")
    import av

    found: list[T] = []
    try:
        # A Python file, because FFmpeg would take some names for addresses.
        with (
            io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
            av.open(file, format=_READERS.get(head[:4], "mov")) as video,
        ):
            if not video.streams.video:
                raise UnreadablePhotoError(f"{where} is a video without pictures; leave it out")
            for frame in _frames(video, count, where):
                found.append(use(_upright(frame)))
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        if not found:
            why = getattr(error, "strerror", None) or reason(error)
            problem = f"is a video that cannot be decoded: {why}; copy it again"
            raise UnreadablePhotoError(f"{where} {problem}") from error
        return found, f"is damaged; {len(found)} of its frames are decoded"
    if not found:
        raise UnreadablePhotoError(f"{where} is a video without frames; leave it out")
    return found, None


def _frames(video: Any, count: int, where: str) -> Iterator[Any]:
    stream = video.streams.video[0]
    if (codec := stream.codec_context) is None:
        raise UnreadablePhotoError(f"{where} is a video of an unknown kind; save frames as JPEG")
    codec.thread_count = 1
    width, height = codec.width, codec.height
    if width * height > MAX_PHOTO_PIXELS:
        problem = f"has {width} x {height} pixels, more than {MAX_PHOTO_PIXELS}; shrink it"
        raise PhotoTooLargeError(f"{where} {problem}")
    times, keys = _times(video, stream)
    if not times:
        return
    wanted = sorted({times[(2 * part + 1) * len(times) // (2 * count)] for part in range(count)})
    at: int | None = None
    decoded: Iterator[Any] = iter(())
    for time in wanted:
        place = bisect_right(keys, time) - 1
        # Go to the key frame before the wanted one, unless that is behind us.
        if at is None or (place >= 0 and keys[place] > at):
            video.seek(keys[max(place, 0)] if keys else times[0], stream=stream)
            decoded = iter(video.decode(stream))
        for frame in decoded:
            at = frame.pts if frame.pts is not None else frame.dts
            if at is None or at >= time:
                yield frame
                break


def _times(video: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Return the times of all frames and of key frames, in the stream's units, without decoding."""
    times, keys = [], []
    for number, packet in enumerate(video.demux(stream)):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or number >= _MOST_PACKETS:
            continue
        times.append(time)
        if packet.is_keyframe:
            keys.append(time)
    return sorted(times), sorted(keys)


def _upright(frame: Any) -> NDArray[np.uint8]:
    # The video says by how much its frames are to be turned, counterclockwise.
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
