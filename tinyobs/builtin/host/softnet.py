"""The kernel's receive path by CPU.

Source: /proc/net/softnet_stat, whose columns are hexadecimal and defined by softnet_seq_show() in net/core.  Names as
node_exporter's `softnet` collector.
"""

from __future__ import annotations

from typing import Final

from .gathering import Gathering
from .settings import Host

COLUMNS: Final = {
    0: ("node_softnet_processed_total", "Packets processed."),
    1: ("node_softnet_dropped_total", "Packets dropped because the backlog was full."),
    2: ("node_softnet_times_squeezed_total", "Times the work was cut short with packets left."),
    8: ("node_softnet_cpu_collision_total", "Collisions on a device lock while sending."),
    9: ("node_softnet_received_rps_total", "Times another CPU asked for packets to be received."),
    10: ("node_softnet_flow_limit_count_total", "Packets dropped by the limit per flow."),
}
_BACKLOG: Final = 11
_CPU: Final = 12


def collect(host: Host, out: Gathering) -> None:
    """Add the columns that the kernel has; the CPU's number is a column since Linux 5.10, before it is the line's."""
    for i, line in enumerate(host.files.proc("net/softnet_stat").splitlines()):
        values = [int(v, 16) for v in line.split()]
        labels = (("cpu", str(values[_CPU] if len(values) > _CPU else i)),)
        for column, (name, help) in COLUMNS.items():
            if column < len(values):
                out.counter(name, help, values[column], labels)
        if len(values) > _BACKLOG:
            out.gauge("node_softnet_backlog_len", "Packets in the backlog.", values[_BACKLOG], labels)
