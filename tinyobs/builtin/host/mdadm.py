"""Software RAID.

Source: md(4) and /proc/mdstat, which has no written grammar: what is read are the name and state of an array, the
member list with its `(F)` and `(S)` marks, `N blocks`, `[total/active]`, and `action = ..% (done/total)`.  Names as
node_exporter's `mdadm` collector.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define

from .gathering import Gathering
from .settings import Host

STATES: Final = ("active", "inactive", "recovering", "resync", "check")
DISK_STATES: Final = ("active", "failed", "spare", "down")
_HEAD = re.compile(r"(\S+) : (\S+)(.*)")
_MEMBER = re.compile(r"\S+\[\d+\](\([A-Z]\))*")
_BLOCKS = re.compile(r"\s+(\d+) blocks")
_RATIO = re.compile(r"\[(\d+)/(\d+)\]")
_ACTION = re.compile(r"(recovery|reshape|resync|check)\s*=\s*(?:.*?\((\d+)/\d+\)|PENDING|DELAYED)")
_STATE_OF_ACTION = {"recovery": "recovering", "reshape": "recovering", "resync": "resync", "check": "check"}


@define
class Array:
    """What /proc/mdstat says of one array; sizes in blocks of 1 KiB."""

    name: str
    state: str
    members: int
    failed: int
    spare: int
    blocks: float = 0
    synced: float = 0
    required: int | None = None
    active: int | None = None


def collect(host: Host, out: Gathering) -> None:
    """Add every array; raises `OSError` where the kernel has no md driver."""
    for array in parse_mdstat(host.files.proc("mdstat")):
        device = ("device", array.name)
        for state in STATES:
            help = "The state of the array is 1."
            out.gauge("node_md_state", help, state == array.state, (device, ("state", state)))
        good = array.members - array.failed - array.spare
        active = good if array.active is None else array.active
        required = active if array.required is None else array.required
        counts = (active, array.failed, array.spare, max(required - active - array.failed, 0))
        for state, count in zip(DISK_STATES, counts, strict=True):
            out.gauge("node_md_disks", "Disks of the array by state.", count, (device, ("state", state)))
        out.gauge("node_md_disks_required", "Disks the array wants.", required, (device,))
        out.gauge("node_md_blocks", "Size of the array, in blocks.", array.blocks, (device,))
        out.gauge("node_md_blocks_synced", "Blocks that are in sync.", array.synced, (device,))


def parse_mdstat(text: str) -> list[Array]:
    """Return the arrays of an mdstat text; lines that say nothing about an array are skipped."""
    arrays: list[Array] = []
    for line in text.splitlines():
        if line.startswith(("Personalities", "unused", "read_ahead")):
            continue
        head = _HEAD.match(line)
        if head:
            members = [m.group() for m in _MEMBER.finditer(head[3])]
            failed = sum("(F)" in m for m in members)
            spare = sum("(S)" in m for m in members)
            arrays.append(Array(head[1], "active" if head[2] == "active" else "inactive", len(members), failed, spare))
        elif arrays and line[:1].isspace():
            _read_detail(arrays[-1], line)
    return arrays


def _read_detail(array: Array, line: str) -> None:
    blocks, ratio, action = _BLOCKS.match(line), _RATIO.search(line), _ACTION.search(line)
    if blocks:
        array.blocks = array.synced = float(blocks[1])
    if ratio and blocks:
        array.required, array.active = int(ratio[1]), int(ratio[2])
    if action and array.state != "inactive":
        array.state = _STATE_OF_ACTION[action[1]]
        array.synced = float(action[2] or 0)
