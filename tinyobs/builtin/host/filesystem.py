"""Space and inodes of mounted file systems.

Sources: proc(5) mounts, statvfs(3).  Names as node_exporter's `filesystem` collector.  A statvfs on a dead network
mount never returns, so it runs in a thread of its own: a mount that does not answer in time is reported with
`node_filesystem_device_error` 1 and left alone until the old call has come back.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from attrs import define, field, frozen

from ...model.labels import from_mapping
from .gathering import Gathering
from .settings import Host, found

MOUNTS_MAX: Final = 4096
"""Most mount points examined in one collection."""
_ESCAPES: Final = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}
"""How getmntent(3) writes characters that would break a line into other fields; the backslash comes last."""


@frozen
class Mount:
    """One line of the mount table; `point` is as the host sees it."""

    device: str
    point: str
    fstype: str
    readonly: bool


Answer: TypeAlias = "os.statvfs_result | OSError | None"
"""What a mount point answered; None where it did not in time."""
Asker: TypeAlias = Callable[[str], os.statvfs_result]


@define
class FilesystemCollector:
    """Remembers which mount points hang; `ask` is `os.statvfs` but for tests."""

    _ask: Asker = os.statvfs
    _hanging: set[str] = field(factory=set, init=False)

    def __call__(self, host: Host, out: Gathering) -> None:
        """Add every mount that is not excluded; of several at one place, each once."""
        root = host.settings.path_rootfs
        mounts = [m for m in read_mounts(host)[:MOUNTS_MAX] if not _is_excluded(host, m)]
        answers = self._ask_all(
            [(root + m.point) or "/" for m in mounts], host.settings.filesystem_mount_timeout / 1000
        )
        for mount, answer in zip(mounts, answers, strict=True):
            _add(mount, answer, out)

    def _ask_all(self, paths: Sequence[str], timeout_seconds: float) -> list[Answer]:
        """Return the answers in order, within twice the timeout.

        One thread asks them all.  When it gets stuck, the paths it had not reached get a thread each.
        """
        answers: dict[str, Answer] = {}
        waiting = [p for p in dict.fromkeys(paths) if p not in self._hanging]
        # All hang until they answer.  To note it after a wait could be too late: an answer between the two would leave it for ever.
        self._hanging.update(waiting)
        self._await_answers(waiting, [waiting], answers, timeout_seconds)
        late = [p for p in waiting if p not in answers]
        if late:
            self._await_answers(late[1:], [[p] for p in late[1:]], answers, timeout_seconds)
        return [answers.get(p) for p in paths]

    def _await_answers(
        self, paths: Sequence[str], shares: Sequence[Sequence[str]], answers: dict[str, Answer], timeout_seconds: float
    ) -> None:
        """Ask each share of the paths in a thread; fill `answers` until all are there or a wait was too long."""
        arrived: queue.SimpleQueue[tuple[str, Answer]] = queue.SimpleQueue()
        abandoned = threading.Event()
        try:
            for share in shares:
                threading.Thread(
                    target=self._ask_share, args=(share, arrived, abandoned), name="statvfs", daemon=True
                ).start()
        except RuntimeError:  # there may be no more threads
            self._hanging.difference_update(paths)
            raise
        for _ in paths:
            try:
                path, answer = arrived.get(timeout=timeout_seconds)
            except queue.Empty:
                abandoned.set()
                return
            answers[path] = answer

    def _ask_share(
        self, paths: Sequence[str], arrived: queue.SimpleQueue[tuple[str, Answer]], abandoned: threading.Event
    ) -> None:
        for path in paths:
            try:
                answer: Answer = self._ask(path)
            except OSError as e:
                answer = e
            self._hanging.discard(path)
            arrived.put((path, answer))
            if abandoned.is_set():
                return


def read_mounts(host: Host) -> list[Mount]:
    """Return the mount table of process 1, else the own one, below the configured root; raises `OSError`."""
    try:
        text = host.files.proc("1/mounts")
    except OSError:
        text = host.files.proc("self/mounts")
    root = host.settings.path_rootfs
    mounts = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) < 4:
            continue
        device, point, fstype, options = words[:4]
        point = _unescape(point)
        if root and (point + "/").startswith(root + "/"):
            point = point[len(root) :] or "/"
        mount = Mount(_unescape(device), point, fstype, "ro" in options.split(","))
        mounts[(mount.device, mount.point, mount.fstype)] = mount
    return list(mounts.values())


def _is_excluded(host: Host, mount: Mount) -> bool:
    s = host.settings
    return found(s.filesystem_mount_points_exclude, mount.point) or found(s.filesystem_fs_types_exclude, mount.fstype)


def _unescape(text: str) -> str:
    if "\\" in text:
        for written, meant in _ESCAPES.items():
            text = text.replace(written, meant)
    return text


def _add(mount: Mount, answer: Answer, out: Gathering) -> None:
    labels = from_mapping({"device": mount.device, "fstype": mount.fstype, "mountpoint": mount.point})
    failed = not isinstance(answer, os.statvfs_result)
    out.gauge("node_filesystem_device_error", "Whether the file system could not be asked.", failed, labels)
    out.gauge("node_filesystem_readonly", "Whether the file system is mounted read-only.", mount.readonly, labels)
    if not isinstance(answer, os.statvfs_result):
        return
    unit = answer.f_frsize or answer.f_bsize
    out.gauge("node_filesystem_size_bytes", "Size, in bytes.", answer.f_blocks * unit, labels)
    out.gauge("node_filesystem_free_bytes", "Free space, in bytes.", answer.f_bfree * unit, labels)
    out.gauge("node_filesystem_avail_bytes", "Free space for ordinary users, in bytes.", answer.f_bavail * unit, labels)
    out.gauge("node_filesystem_files", "Inodes.", answer.f_files, labels)
    out.gauge("node_filesystem_files_free", "Free inodes.", answer.f_ffree, labels)
