"""What goes with files of the log that are dropped though cursors have not read them: counted exactly, in slices.

Not here: which files go, and when (`log_keeping.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from attrs import Factory, define, field

from ..abc.log import LogPosition
from ..codec.framing import Frame, sound_frames
from . import wal_format as fmt
from .disk import Disk
from .layout import wal_name
from .log_index import samples_in


@define(eq=False)
class LogDrop:
    """Files that go.  end: the first that stays.  behind: how far each cursor had come that needs one of them."""

    files: list[int]
    end: int
    reason: str
    behind: Mapping[str, LogPosition]
    samples: dict[str, int] = field(init=False)
    """What each cursor misses."""
    lost_files: dict[str, int] = field(init=False)
    untold: list[str] = field(init=False)
    """The cursors whose places have still to be moved."""
    _left: list[int] = field(init=False)
    _frames: Iterator[Frame] | None = None
    _missed: set[str] = Factory(set)
    """The cursors that miss something of the file that is counted."""

    def __attrs_post_init__(self) -> None:
        self.samples = dict.fromkeys(self.behind, 0)
        self.lost_files = dict.fromkeys(self.behind, 0)
        self.untold = list(self.behind)
        self._left = [n for n in self.files if self._wanting(n)]

    def count_some(self, disk: Disk, size: Callable[[int], int]) -> bool:
        """Count one record; tell whether there are more."""
        if not self._left:
            return False
        file = self._left[0]
        if self._frames is None:
            try:
                data = disk.map(wal_name(file))[: size(file)]
            except FileNotFoundError:
                data = memoryview(b"")
            self._frames = sound_frames(data, fmt.FILE_HEADER.size)
        frame = next(self._frames, None)
        if frame is None:
            self._frames = None
            self._left.pop(0)
            for name in self._missed:
                self.lost_files[name] += 1
            self._missed.clear()
            return True
        end = LogPosition(file, frame.end)
        missing = [name for name, place in self.behind.items() if end > place]
        count = samples_in(frame) if missing else 0
        if count:
            for name in missing:
                self.samples[name] += count
            self._missed.update(missing)
        return True

    def _wanting(self, file: int) -> bool:
        """Tell whether some cursor has not read all of a file."""
        return any(place.file <= file for place in self.behind.values())
