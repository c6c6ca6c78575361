"""Whatever stands in the files, a collection comes to its end and gives well-formed families."""

from __future__ import annotations

import math
import shutil

import pytest
from host_tree import HostTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tinyobs.builtin.host.collectors import linux_collectors
from tinyobs.builtin.host.exporter import HostExporter
from tinyobs.model.labels import is_legacy_label_name

FILES = {
    "proc/stat": "cpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 1\nctxt 3\n",
    "proc/meminfo": "MemTotal: 4 kB\nActive(anon): 2 kB\n",
    "proc/diskstats": "8 0 sda 1 2 10 1500 3 4 20 2500 5 6000 7000\n",
    "proc/net/dev": "a\nb\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    "proc/net/netstat": "TcpExt: ListenDrops\nTcpExt: 2\n",
    "proc/net/snmp": "Tcp: ActiveOpens\nTcp: 4\n",
    "proc/net/sockstat": "sockets: used 17\nTCP: inuse 1 mem 3\n",
    "proc/net/softnet_stat": "0000000f 1 2\n",
    "proc/net/arp": "IP\n192.0.2.1 0x1 0x2 02:00:00:00:00:01 * eth0\n",
    "proc/net/udp": "  sl\n  1: 0:35 0:0 07 0A:01 0:0 0 0 0 1 2 3 0\n",
    "proc/mdstat": "md0 : active raid1 sdb1[1]\n  1000 blocks [2/2] [UU]\n  resync = 8% (17/1000)\n",
    "proc/schedstat": "cpu3 0 0 0 0 0 0 2000000000 500000000 9\n",
    "proc/pressure/cpu": "some avg10=0 total=2\nfull avg10=0 total=3\n",
    "proc/1/mounts": "/dev/sda / ext4 rw 0 0\n",
    "sys/devices/system/cpu/isolated": "1,4-5\n",
    "proc/vmstat": "pgpgin 6\n",
    "proc/loadavg": "1 2 3 4 5\n",
    "root/etc/os-release": 'ID=x\nVERSION_ID="1.2"\n',
    "sys/class/net/eth0/flags": "0x1003\n",
    "sys/class/hwmon/hwmon0/temp1_input": "42000\n",
}
ODD = st.sampled_from([" ", ":", "-", "=", "\n", "[", "(", "nan", "1e999", "0x", "\x00", "é", "99999999999999999999"])


@st.composite
def damaged(draw):
    """Give files of which some have pieces cut out and odd ones put in."""
    found = {}
    for path in draw(st.lists(st.sampled_from(sorted(FILES)), min_size=1, max_size=4, unique=True)):
        text = FILES[path]
        for _ in range(draw(st.integers(1, 3))):
            a, b = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
            text = text[:a] + draw(ODD) + (text[b:] if draw(st.booleans()) else text[a:])
        found[path] = text
    return found


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(damaged())
def test_damaged_files_never_break_a_collection(tmp_path, files):
    """Names and labels stay well-formed, and numbers are numbers."""
    base = tmp_path / "host"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    tree = HostTree(base)
    for path, text in (FILES | files).items():
        tree.write(path, text)
    collectors = {k: v for k, v in linux_collectors().items() if k not in ("time", "timex", "uname")}
    with capture_logs():
        families = HostExporter(tree.settings(), collectors).collect()
    for f in families:
        assert f.help
        for p in f.points:
            assert isinstance(p.value, float)
            assert not math.isinf(p.value) or "e9" in "".join(files.values())
            assert all(is_legacy_label_name(k) and v for k, v in p.labels)
