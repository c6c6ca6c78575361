"""How well the clock is kept.

Source: adjtimex(2), called with nothing to change.  Names as node_exporter's `timex` collector.  Always of the
running kernel: the call knows no other root.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

from .gathering import Gathering
from .settings import Host

TIME_ERROR: Final = 5
"""The state of a clock that nothing synchronises."""
STA_NANO: Final = 0x2000
"""Status bit: times are in nanoseconds, not microseconds."""
_PPM: Final = 1_000_000.0 * 65_536.0
"""Frequencies are in parts per million with 16 bits behind the point."""


class Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "time_s", "time_us", "tick")),
        *((name, ctypes.c_long) for name in ("ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


def collect(host: Host, out: Gathering) -> None:
    """Add the state of the kernel's clock discipline; raises `OSError` where the call is refused."""
    state, t = read_timex()
    per_second = 1e9 if t.status & STA_NANO else 1e6
    gauges = {
        "sync_status": ("Whether the clock is synchronised.", float(state != TIME_ERROR)),
        "offset_seconds": ("Offset of the clock from its reference, in seconds.", t.offset / per_second),
        "frequency_adjustment_ratio": ("Adjustment of the clock's rate.", 1 + t.freq / _PPM),
        "maxerror_seconds": ("Largest error of the clock, in seconds.", t.maxerror / 1e6),
        "estimated_error_seconds": ("Likely error of the clock, in seconds.", t.esterror / 1e6),
        "status": ("Status bits of the clock.", t.status),
        "loop_time_constant": ("Time constant of the phase-locked loop.", t.constant),
        "tick_seconds": ("Time between two ticks, in seconds.", t.tick / 1e6),
        "pps_frequency_hertz": ("Frequency of the pulse per second.", t.ppsfreq / _PPM),
        "pps_jitter_seconds": ("Jitter of the pulse per second, in seconds.", t.jitter / per_second),
        "pps_shift_seconds": ("Interval of the pulse per second, in seconds.", t.shift),
        "pps_stability_hertz": ("Stability of the pulse per second.", t.stabil / _PPM),
        "tai_offset_seconds": ("Offset of International Atomic Time, in seconds.", t.tai),
    }
    counters = {
        "pps_jitter_total": ("Pulses beyond the limit of jitter.", t.jitcnt),
        "pps_calibration_total": ("Calibration intervals.", t.calcnt),
        "pps_error_total": ("Calibration errors.", t.errcnt),
        "pps_stability_exceeded_total": ("Pulses beyond the limit of stability.", t.stbcnt),
    }
    for name, (help, value) in gauges.items():
        out.gauge(f"node_timex_{name}", help, value)
    for name, (help, value) in counters.items():
        out.counter(f"node_timex_{name}", help, value)


def read_timex() -> tuple[int, Timex]:
    """Return (clock state, the kernel's answer); raises `OSError`."""
    if platform.system() != "Linux":
        raise OSError("adjtimex exists on Linux only")
    answer = Timex()
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(answer))
    if state < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "adjtimex")
    return state, answer
