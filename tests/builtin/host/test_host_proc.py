"""Collectors that read /proc, on small invented files."""

from __future__ import annotations

import os

import pytest

from tinyobs.builtin.host import (
    arp,
    conntrack,
    diskstats,
    entropy,
    filefd,
    loadavg,
    mdadm,
    meminfo,
    netdev,
    netstat,
    pressure,
    processes,
    schedstat,
    sockstat,
    softnet,
    stat,
    udp_queues,
    uname,
    vmstat,
)
from tinyobs.builtin.host.cpu import CpuCollector
from tinyobs.model.metadata import MetricType

TICK = os.sysconf("SC_CLK_TCK")


def test_cpu_times_are_seconds_by_mode(tree):
    """Ticks become seconds; the line over all CPUs is left out; guest time has a family of its own."""
    tree.write("proc/stat", "cpu  9 9 9 9\ncpu0 100 200 300 400 500 600 700 800 900 1000\nintr 5\ncpu7 1 1 1 1\n")
    found = tree.series(CpuCollector())
    assert found['node_cpu_seconds_total{cpu="0", mode="user"}'] == 100 / TICK
    assert found['node_cpu_seconds_total{cpu="0", mode="steal"}'] == 800 / TICK
    assert found['node_cpu_guest_seconds_total{cpu="0", mode="nice"}'] == 1000 / TICK
    assert not any('cpu="7"' in key for key in found)


def test_cpu_counters_never_step_back(tree):
    """A small step back of the kernel is held; a large one of idle means that the CPU was replugged."""
    collector = CpuCollector()
    tree.write("proc/stat", f"cpu0 10 0 0 {10 * TICK} 70\n")
    tree.series(collector)
    tree.write("proc/stat", f"cpu0 11 0 0 {9 * TICK} 60\n")
    found = tree.series(collector)
    assert found['node_cpu_seconds_total{cpu="0", mode="idle"}'] == 10
    assert found['node_cpu_seconds_total{cpu="0", mode="iowait"}'] == pytest.approx(70 / TICK)
    assert found['node_cpu_seconds_total{cpu="0", mode="user"}'] == pytest.approx(11 / TICK)
    tree.write("proc/stat", f"cpu0 1 0 0 {2 * TICK} 0\n")
    assert tree.series(collector)['node_cpu_seconds_total{cpu="0", mode="idle"}'] == 2


def test_cpu_throttles_count_each_core_and_package_once(tree):
    """Two threads of a core share its counter, and all cores share the package's."""
    tree.write("proc/stat", "cpu0 1 1 1 1\n")
    tree.write("sys/devices/system/cpu/isolated", "1,4-5\n")
    for cpu, core in (("cpu0", 0), ("cpu1", 0), ("cpu2", 1)):
        base = f"sys/devices/system/cpu/{cpu}"
        tree.write(f"{base}/topology/physical_package_id", "3\n")
        tree.write(f"{base}/topology/core_id", f"{core}\n")
        tree.write(f"{base}/thermal_throttle/core_throttle_count", f"{core + 5}\n")
        tree.write(f"{base}/thermal_throttle/package_throttle_count", "30\n")
    found = tree.series(CpuCollector())
    assert found['node_cpu_core_throttles_total{core="0", package="3"}'] == 5
    assert found['node_cpu_core_throttles_total{core="1", package="3"}'] == 6
    assert found['node_cpu_package_throttles_total{package="3"}'] == 30
    assert [k for k in found if "isolated" in k] == [f'node_cpu_isolated{{cpu="{i}"}}' for i in (1, 4, 5)]


def test_load_averages(tree):
    """The first three words are the averages."""
    tree.write("proc/loadavg", "0.25 1.5 2.75 1/97 6649\n")
    assert tree.series(loadavg.collect) == {"node_load1": 0.25, "node_load5": 1.5, "node_load15": 2.75}


def test_memory_fields_keep_their_kernel_names(tree):
    """Fields with a unit become bytes, fields without stay counts, brackets become underscores."""
    tree.write("proc/meminfo", "MemTotal: 4 kB\nActive(anon): 2 kB\nHugePages_Total: 7\nodd line\n")
    assert tree.series(meminfo.collect) == {
        "node_memory_MemTotal_bytes": 4096,
        "node_memory_Active_anon_bytes": 2048,
        "node_memory_HugePages_Total": 7,
    }


def test_vmstat_takes_the_chosen_fields(tree):
    """The default fields are upstream's; a setting changes them; the type is unknown."""
    tree.write("proc/vmstat", "nr_free_pages 5\npgpgin 6\npgmajfault 7\noom_kill 8\n")
    assert set(tree.series(vmstat.collect)) == {"node_vmstat_pgpgin", "node_vmstat_pgmajfault", "node_vmstat_oom_kill"}
    assert tree.series(vmstat.collect, vmstat_fields="^nr_") == {"node_vmstat_nr_free_pages": 5}
    assert tree.families(vmstat.collect)["node_vmstat_pgpgin"].type is MetricType.UNKNOWN


def test_system_wide_counts(tree):
    """Of the interrupts only the sum counts, which is the first number of its long line."""
    text = "cpu 1\nintr 50 1 2 3\nctxt 60\nbtime 1700000000\nprocesses 70\nprocs_running 2\nprocs_blocked 1\n"
    tree.write("proc/stat", text)
    assert tree.series(stat.collect) == {
        "node_intr_total": 50,
        "node_context_switches_total": 60,
        "node_boot_time_seconds": 1.7e9,
        "node_forks_total": 70,
        "node_procs_running": 2,
        "node_procs_blocked": 1,
    }


def test_disks_in_base_units(tree):
    """Sectors become bytes, milliseconds seconds; partitions are left out; udev knows the model."""
    tree.write(
        "proc/diskstats",
        "   8 0 sda 1 2 10 1500 3 4 20 2500 5 6000 7000 8 9 11 12000\n   8 1 sda1 1 1 1 1 1 1 1 1 1 1 1\n",
    )
    tree.write("root/run/udev/data/b8:0", "I:1\nE:ID_MODEL=Invented\nE:ID_SERIAL_SHORT=42\n")
    tree.write("sys/block/sda/queue/rotational", "1\n")
    found = tree.series(diskstats.collect)
    assert found['node_disk_read_bytes_total{device="sda"}'] == 5120
    assert found['node_disk_write_time_seconds_total{device="sda"}'] == 2.5
    assert found['node_disk_io_now{device="sda"}'] == 5
    assert found['node_disk_discard_time_seconds_total{device="sda"}'] == 12
    assert not any("flush" in key for key in found)
    assert not any("sda1" in key for key in found)
    info = 'device="sda", major="8", minor="0", model="Invented", rotational="1", serial="42"'
    assert found[f"node_disk_info{{{info}}}"] == 1


def test_network_traffic(tree):
    """Every column has its name, and devices can be excluded."""
    head = "Inter-|   Receive\n face |bytes\n"
    row = " ".join(str(i) for i in range(1, 17))
    tree.write("proc/net/dev", f"{head}    lo:{row}\n  eth0: {row}\n")
    tree.write("sys/class/net/eth0/statistics/rx_nohandler", "77\n")
    found = tree.series(netdev.collect, netdev_device_exclude="^lo$")
    assert len(found) == 17
    assert found['node_network_receive_bytes_total{device="eth0"}'] == 1
    assert found['node_network_transmit_colls_total{device="eth0"}'] == 14
    assert found['node_network_receive_nohandler_total{device="eth0"}'] == 77


def test_protocol_statistics(tree):
    """Lines come in pairs of names and values; IPv6 has a table of single lines and may be missing."""
    tree.write("proc/net/netstat", "TcpExt: SyncookiesSent ListenDrops Other\nTcpExt: 1 2 3\n")
    tree.write("proc/net/snmp", "Tcp: ActiveOpens MaxConn\nTcp: 4 -1\n")
    expected = {
        "node_netstat_TcpExt_SyncookiesSent": 1,
        "node_netstat_TcpExt_ListenDrops": 2,
        "node_netstat_Tcp_ActiveOpens": 4,
    }
    assert tree.series(netstat.collect) == expected
    tree.write("proc/net/snmp6", "Ip6InOctets 9\nIcmp6InMsgs 8\nUdpLite6InErrors 7\nIp6Other 6\n")
    more = {"node_netstat_Ip6_InOctets": 9, "node_netstat_Icmp6_InMsgs": 8, "node_netstat_UdpLite6_InErrors": 7}
    assert tree.series(netstat.collect) == expected | more


@pytest.mark.parametrize("text", ["Tcp: A B\nUdp: 1 2\n", "Tcp: A B\nTcp: 1\n", "Tcp: A\n"])
def test_protocol_statistics_that_do_not_pair_are_refused(tree, text):
    """A table whose lines do not belong together gives no number rather than a wrong one."""
    tree.write("proc/net/netstat", "")
    tree.write("proc/net/snmp", text)
    with pytest.raises(ValueError):
        tree.series(netstat.collect)


def test_sockets(tree):
    """Memory is in pages and given in bytes as well; the IPv6 table may be missing."""
    tree.write("proc/net/sockstat", "sockets: used 17\nTCP: inuse 1 mem 3\nFRAG: inuse 0 memory 0\n")
    found = tree.series(sockstat.collect)
    page = os.sysconf("SC_PAGE_SIZE")
    assert found == {
        "node_sockstat_sockets_used": 17,
        "node_sockstat_TCP_inuse": 1,
        "node_sockstat_TCP_mem": 3,
        "node_sockstat_TCP_mem_bytes": 3 * page,
        "node_sockstat_FRAG_inuse": 0,
        "node_sockstat_FRAG_memory": 0,
    }
    tree.write("proc/net/sockstat6", "TCP6: inuse 5\n")
    assert tree.series(sockstat.collect)["node_sockstat_TCP6_inuse"] == 5


def test_softnet_columns_are_hexadecimal(tree):
    """Old kernels have few columns and count lines as CPUs; new ones say the CPU themselves."""
    tree.write("proc/net/softnet_stat", "0000000f 1 2\n00000010 3 4\n")
    found = tree.series(softnet.collect)
    assert found['node_softnet_processed_total{cpu="0"}'] == 15
    assert found['node_softnet_dropped_total{cpu="1"}'] == 3
    assert len(found) == 6
    tree.write("proc/net/softnet_stat", "1 2 3 0 0 0 0 0 4 5 6 7 a\n")
    found = tree.series(softnet.collect)
    assert found['node_softnet_backlog_len{cpu="10"}'] == 7
    assert found['node_softnet_flow_limit_count_total{cpu="10"}'] == 6


def test_arp_entries_by_device(tree):
    """Lines of the table are counted by their last column."""
    row = "192.0.2.{0} 0x1 0x2 02:00:00:00:00:0{0} * {1}\n"
    text = "IP address HW type Flags HW address Mask Device\n" + row.format(1, "eth0") + row.format(2, "eth0")
    tree.write("proc/net/arp", text + row.format(3, "eth1"))
    assert tree.series(arp.collect) == {
        'node_arp_entries{device="eth0"}': 2,
        'node_arp_entries{device="eth1"}': 1,
    }


def test_conntrack_sums_over_cpus(tree):
    """Each line is a CPU, in hexadecimal."""
    tree.write("proc/sys/net/netfilter/nf_conntrack_count", "5\n")
    tree.write("proc/sys/net/netfilter/nf_conntrack_max", "100\n")
    tree.write("proc/net/stat/nf_conntrack", "entries found drop\n5 a 1\n5 1 2\n")
    assert tree.series(conntrack.collect) == {
        "node_nf_conntrack_entries": 5,
        "node_nf_conntrack_entries_limit": 100,
        "node_nf_conntrack_stat_found": 11,
        "node_nf_conntrack_stat_drop": 3,
    }


def test_single_numbers(tree):
    """Entropy and file handles."""
    tree.write("proc/sys/kernel/random/entropy_avail", "200\n")
    tree.write("proc/sys/kernel/random/poolsize", "256\n")
    tree.write("proc/sys/fs/file-nr", "610\t0\t2466183\n")
    assert tree.series(entropy.collect) == {"node_entropy_available_bits": 200, "node_entropy_pool_size_bits": 256}
    assert tree.series(filefd.collect) == {"node_filefd_allocated": 610, "node_filefd_maximum": 2466183}


def test_pressure_totals_in_seconds(tree):
    """Microseconds become seconds; a kernel without the file for interrupts is fine, one without the others not."""
    both = "some avg10=0.09 avg60=0.72 avg300=0.43 total=2000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n"
    for name in ("cpu", "io", "memory"):
        tree.write(f"proc/pressure/{name}", both)
    found = tree.series(pressure.collect)
    assert found == {
        "node_pressure_cpu_waiting_seconds_total": 2,
        "node_pressure_io_waiting_seconds_total": 2,
        "node_pressure_io_stalled_seconds_total": 0.5,
        "node_pressure_memory_waiting_seconds_total": 2,
        "node_pressure_memory_stalled_seconds_total": 0.5,
    }
    tree.write("proc/pressure/irq", both.splitlines()[1] + "\n")
    assert tree.series(pressure.collect)["node_pressure_irq_stalled_seconds_total"] == 0.5
    (tree.base / "proc/pressure/io").unlink()
    with pytest.raises(FileNotFoundError):
        tree.series(pressure.collect)


def test_run_queue_times(tree):
    """The last three columns of nine count; domain lines are skipped."""
    tree.write("proc/schedstat", "version 15\ntimestamp 1\ncpu3 0 0 0 0 0 0 2000000000 500000000 9\ndomain0 3 1 2\n")
    assert tree.series(schedstat.collect) == {
        'node_schedstat_running_seconds_total{cpu="3"}': pytest.approx(2),
        'node_schedstat_waiting_seconds_total{cpu="3"}': pytest.approx(0.5),
        'node_schedstat_timeslices_total{cpu="3"}': 9,
    }


def test_udp_queues(tree):
    """Queues are summed over sockets; without either table there is nothing to say."""
    with pytest.raises(FileNotFoundError):
        tree.series(udp_queues.collect)
    row = "  1: 00000000:0035 00000000:0000 07 {}:{} 00:00000000 00000000 0 0 1 2 3 0\n"
    tree.write("proc/net/udp", "  sl local\n" + row.format("0000000A", "00000001") + row.format("00000001", "00000002"))
    assert tree.series(udp_queues.collect) == {
        'node_udp_queues{ip="v4", queue="tx"}': 11,
        'node_udp_queues{ip="v4", queue="rx"}': 3,
    }


def test_processes_are_counted_by_state(tree):
    """A command may hold brackets and spaces."""
    rest = " ".join(str(i) for i in range(1, 17))
    for pid, state in ((1, "S"), (20, "R"), (21, "S")):
        tree.write(f"proc/{pid}/stat", f"{pid} (a) b)) {state} {rest} 3 0\n")
    tree.write("proc/sys/kernel/threads-max", "1000\n")
    tree.write("proc/sys/kernel/pid_max", "4000\n")
    assert tree.series(processes.collect) == {
        'node_processes_state{state="R"}': 1,
        'node_processes_state{state="S"}': 2,
        "node_processes_pids": 3,
        "node_processes_threads": 9,
        "node_processes_max_threads": 1000,
        "node_processes_max_processes": 4000,
    }


def test_uname_names_the_domain(tree):
    """The domain comes from /proc, the rest from the system call."""
    tree.write("proc/sys/kernel/domainname", "example.test\n")
    (key,) = tree.series(uname.collect)
    assert f'domainname="example.test", machine="{os.uname().machine}"' in key


MDSTAT = """Personalities : [raid1] [raid6] [raid5] [raid4]
md0 : active raid1 sdb1[1] sda1[0]
      1000 blocks super 1.2 [2/2] [UU]
      bitmap: 0/1 pages [0KB], 65536KB chunk

md1 : active raid5 sdd[3] sdc[1](F) sde[4](S) sdb[0]
      2000 blocks level 5, 64k chunk, algorithm 2 [3/2] [U_U]
      [=>...................]  recovery =  8.5% (170/2000) finish=17.0min speed=259783K/sec

md2 : inactive sdf[0](S)
      500 blocks

md3 : active raid0 sdg[0] sdh[1]
      4000 blocks super 1.2 512k chunks

md4 : active raid1 sdi[0] sdj[1]
      700 blocks [2/2] [UU]
      \tresync=PENDING

unused devices: <none>
"""


def test_raid_arrays(tree):
    """State, members and progress are read from the lines that belong to an array."""
    tree.write("proc/mdstat", MDSTAT)
    found = tree.series(mdadm.collect)
    assert found['node_md_state{device="md0", state="active"}'] == 1
    assert found['node_md_blocks_synced{device="md0"}'] == found['node_md_blocks{device="md0"}'] == 1000
    assert found['node_md_state{device="md1", state="recovering"}'] == 1
    assert found['node_md_state{device="md1", state="active"}'] == 0
    assert found['node_md_blocks_synced{device="md1"}'] == 170
    disks = {s: found[f'node_md_disks{{device="md1", state="{s}"}}'] for s in mdadm.DISK_STATES}
    assert disks == {"active": 2, "failed": 1, "spare": 1, "down": 0}
    assert found['node_md_disks_required{device="md1"}'] == 3
    assert found['node_md_state{device="md2", state="inactive"}'] == 1
    assert found['node_md_disks{device="md3", state="active"}'] == 2
    assert found['node_md_state{device="md4", state="resync"}'] == 1
    assert found['node_md_blocks_synced{device="md4"}'] == 0
