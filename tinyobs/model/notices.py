"""What a storage has to tell its operator."""

from __future__ import annotations

from attrs import frozen


@frozen
class Notice:
    """Something that an operator should know of, in one line: which file, what was lost, what to do.

    is_fault: something is wrong; else it is as is expected after a crash.
    """

    text: str
    is_fault: bool = True
