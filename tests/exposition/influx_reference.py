"""The Influx line protocol read line by line: what the bulk way must give as well."""

from __future__ import annotations

import numpy as np

from tinyobs.exposition.influx import InfluxOptions
from tinyobs.exposition.influx_line import BadLine, Key, parse_carefully, parse_key, unescaped
from tinyobs.exposition.influx_names import Namer, NameRules
from tinyobs.exposition.influx_times import to_ms
from tinyobs.model.label_block import decode_pair, labels_of_block


def read(body: bytes, options: InfluxOptions, rules: NameRules):
    """Return (samples as (labels, time, value), numbers of lines that are refused, strings); for bodies without quotes that are not closed."""
    samples, refused, strings = [], [], 0
    for number, raw in enumerate(body.split(b"\n"), 1):
        line = raw.removesuffix(b"\r").lstrip(b" \t\0")
        if not line or line.startswith(b"#"):
            continue
        try:
            parsed = parse_carefully(line)
            key = parse_key(parsed.key) if parsed.fields else Key("", ())  # nothing needs the key of a line of strings
            single = len(parsed.fields) + parsed.string_count == 1
            namer = Namer(options.origin, rules)
            blocks = [namer.block(namer.key(key), unescaped(n), single) for n, _ in parsed.fields]
            series = [tuple(decode_pair(b[i:j]) for i, j, _ in labels_of_block(b)) for b in blocks]
            given = np.array([parsed.time or 0], np.int64)
            times, good = to_ms(given, options.precision, options.now_ms, options.trim_ms)
            if not good[0]:
                raise BadLine("time")
        except BadLine:
            refused.append(number)
            continue
        strings += parsed.string_count
        samples += [(s, int(times[0]), v) for s, (_, v) in zip(series, parsed.fields, strict=True)]
    return samples, refused, strings
