"""File systems: the mount table, exclusions, and mounts that never answer."""

from __future__ import annotations

import os
import queue
import threading
from types import SimpleNamespace

import pytest

from tinyobs.builtin.host import filesystem
from tinyobs.builtin.host.filesystem import FilesystemCollector, read_mounts
from tinyobs.builtin.host.settings import Host

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
/dev/sdb1 /a\040b xfs ro,relatime 0 0
proc /proc proc rw 0 0
tmpfs /run/credentials/x.service tmpfs ro 0 0
overlay /merged overlay rw 0 0
/dev/sda1 / ext4 rw,relatime 0 0
nfs:/x /dead nfs4 rw 0 0
broken
"""


@pytest.fixture
def root(tree):
    """A root file system in the tree, with its places prefixed as a container sees its host."""
    base = f"{tree.base}/root"
    for place in ("a b", "dead"):
        (tree.base / "root" / place).mkdir()
    text = "".join(
        " ".join([w[0], base + w[1] if w[1] != "/" else base, *w[2:]]) + "\n"
        for w in (line.split(" ") for line in MOUNTS.splitlines())
        if len(w) > 1
    )
    tree.write("proc/1/mounts", text + "broken\n")
    return base


def test_mounts_lose_the_prefix_of_the_root(tree, root):
    """Mount points are the host's; excluded types and places are left out; a mount listed twice counts once."""
    found = tree.series(FilesystemCollector())
    points = {k.split('mountpoint="')[1].split('"')[0] for k in found}
    assert points == {"/", "/a b", "/dead"}
    st = os.statvfs(root)
    size = found['node_filesystem_size_bytes{device="/dev/sda1", fstype="ext4", mountpoint="/"}']
    assert size == st.f_blocks * st.f_frsize
    readonly = 'node_filesystem_readonly{device="/dev/sdb1", fstype="xfs", mountpoint="/a b"}'
    assert found[readonly] == 1
    assert set(tree.series(FilesystemCollector(), filesystem_mount_points_exclude="^/(a b|dead|run/.*)$")) == {
        k for k in found if 'mountpoint="/"' in k
    }


def test_only_whole_folders_are_taken_off(tree):
    """A mount beside the root whose name begins alike keeps its name."""
    tree.write("proc/1/mounts", f"a {tree.base}/root ext4 rw 0 0\nb {tree.base}/rootless ext4 rw 0 0\n")
    points = [m.point for m in read_mounts(Host(tree.settings().files(), tree.settings()))]
    assert points == ["/", f"{tree.base}/rootless"]


def test_a_mount_that_fails_has_only_its_error(tree, root):
    """The error is a series; sizes are absent rather than zero."""
    (tree.base / "root" / "dead").rmdir()
    found = {k: v for k, v in tree.series(FilesystemCollector()).items() if "/dead" in k}
    labels = 'device="nfs:/x", fstype="nfs4", mountpoint="/dead"'
    assert found == {
        f"node_filesystem_device_error{{{labels}}}": 1,
        f"node_filesystem_readonly{{{labels}}}": 0,
    }


class Hanging:
    """Threads that hang in mounts until they are released."""

    def __init__(self):
        self.released, self.count, self.timeouts = threading.Event(), 0, set()
        self._others, self._lock = set(threading.enumerate()), threading.Lock()

    def hang(self):
        """Do as a system call to a dead mount."""
        with self._lock:
            self.count += 1
        assert self.released.wait(60)

    def release(self):
        """Let them come back, and wait until all threads have ended."""
        self.released.set()
        for thread in self.threads():
            thread.join(60)

    def threads(self):
        return [t for t in threading.enumerate() if t.name == "statvfs" and t not in self._others]


@pytest.fixture
def hanging(monkeypatch):
    """Time is over for an answer as soon as all that is still to come hangs, however slow the machine is."""
    made = Hanging()

    class Answers(queue.SimpleQueue):
        def get(self, timeout):
            made.timeouts.add(timeout)
            while len(made.threads()) > made.count:
                try:
                    return super().get(timeout=0.01)
                except queue.Empty:
                    pass
            return self.get_nowait()

    monkeypatch.setattr(filesystem, "queue", SimpleNamespace(SimpleQueue=Answers, Empty=queue.Empty))
    yield made
    made.release()


def test_a_hanging_mount_does_not_hold_up_the_others(tree, root, hanging):
    """The dead mount is reported, not asked again while it hangs, and asked again after it came back."""
    asked = []

    def ask(path):
        asked.append(path)
        if path.endswith("a b") and not hanging.released.is_set():
            hanging.hang()
        return os.statvfs(path)

    collector = FilesystemCollector(ask)
    dead = 'node_filesystem_device_error{device="/dev/sdb1", fstype="xfs", mountpoint="/a b"}'
    after = 'node_filesystem_size_bytes{device="nfs:/x", fstype="nfs4", mountpoint="/dead"}'
    found = tree.series(collector)
    assert found[dead] == 1
    assert found[after] > 0
    asked.clear()
    found = tree.series(collector)
    assert found[dead] == 1
    assert not any(p.endswith("a b") for p in asked)
    hanging.release()
    assert tree.series(collector)[dead] == 0


def test_a_mount_that_answers_just_after_the_wait_was_over(tree, root, monkeypatch):
    """It is late this time, and asked again the next time, whenever the thread that asked has come back."""
    release, asked = threading.Event(), threading.Event()
    arrived = []

    def ask(path):
        if path.endswith("a b") and not asked.is_set():
            asked.set()
            release.wait()
        return os.statvfs(path)

    class Late(queue.SimpleQueue):
        """As soon as the wait for the second is over the thread comes back, and is done before anything else happens."""

        def get(self, timeout):
            if len(arrived) == 1 and not release.is_set():
                asked.wait()
                release.set()
                for thread in threading.enumerate():
                    if thread.name == "statvfs":
                        thread.join()
                raise queue.Empty
            arrived.append(super().get(timeout=timeout))
            return arrived[-1]

    collector = FilesystemCollector(ask)
    dead = 'node_filesystem_device_error{device="/dev/sdb1", fstype="xfs", mountpoint="/a b"}'
    with monkeypatch.context() as patch:
        patch.setattr("tinyobs.builtin.host.filesystem.queue.SimpleQueue", Late)
        assert tree.series(collector)[dead] == 1
    assert tree.series(collector)[dead] == 0


def test_mounts_are_asked_again_when_there_was_no_thread_to_ask(tree, root, monkeypatch):
    """A process may have as many threads as it can; that is no fault of the mounts."""
    collector = FilesystemCollector(os.statvfs)

    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            tree.series(collector)
    assert not any(v for k, v in tree.series(collector).items() if "device_error" in k)


def test_many_hanging_mounts_cost_two_timeouts_together(tree, hanging):
    """Each gets a thread once the first has been found to hang; the answer comes all the same."""
    base = f"{tree.base}/root"
    lines = [f"nfs:/{i} {base}/m{i} nfs4 rw 0 0" for i in range(20)] + [f"/dev/sda {base} ext4 rw 0 0"]
    tree.write("proc/1/mounts", "\n".join(lines))

    def ask(path):
        if path != f"{base}/":
            hanging.hang()
        return os.statvfs(base)

    found = tree.series(FilesystemCollector(ask), filesystem_mount_timeout=50)
    assert hanging.timeouts == {0.05}
    hanging.release()
    assert sum(v for k, v in found.items() if "device_error" in k) == 20
    assert found['node_filesystem_files{device="/dev/sda", fstype="ext4", mountpoint="/"}'] > 0


def test_the_own_mount_table_serves_where_that_of_process_1_is_hidden(tree):
    """In a container /proc/1 may be unreadable; without any table the collector fails."""
    with pytest.raises(FileNotFoundError):
        tree.series(FilesystemCollector())
    tree.write("proc/self/mounts", f"/dev/sda {tree.base}/root ext4 rw 0 0\n")
    assert len(tree.series(FilesystemCollector())) == 7
