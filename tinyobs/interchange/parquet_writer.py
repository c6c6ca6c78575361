"""Samples -> Parquet: a column for every label, `timestamp` (ms, UTC), `value`, `histogram`; needs `tinyobs[parquet]`.

Label columns are dictionaries of text, null where a series lacks the label.  Floats are exact to the bit.  `histogram`
holds the packed words of a native histogram (`model/histograms.py`), null for floats; then `value` is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import numpy as np
from attrs import define, field

from ..errors import UsageError
from ..model.columns import SeriesColumns
from ..model.histograms import Histograms, is_handle, numbers_of
from .csv_columns import column_of_label

COMPRESSION: Final = "zstd"


def arrow() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet; raises `UsageError` where they are missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'tinyobs[parquet]'") from None
    return pyarrow, pyarrow.parquet


@define
class ParquetWriter:
    """Writes Parquet.  names: every label name that series have, ascending."""

    out: BinaryIO
    names: Sequence[str]
    _file: Any = field(init=False)
    _schema: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        pa, pq = arrow()
        text = pa.dictionary(pa.int32(), pa.string())
        fields = [pa.field(column_of_label(n), text) for n in self.names]
        fields += [pa.field("timestamp", pa.timestamp("ms", "UTC"), nullable=False)]
        fields += [pa.field("value", pa.float64()), pa.field("histogram", pa.binary())]
        self._schema = pa.schema(fields)
        self._file = pq.ParquetWriter(self.out, self._schema, compression=COMPRESSION, use_dictionary=list(self.names))

    def write(self, columns: SeriesColumns) -> None:
        """Append series as a row group."""
        if not columns.samples:
            return
        pa, _ = arrow()
        rows = np.repeat(np.arange(len(columns)), np.diff(columns.offsets)).astype(np.int32)
        own = [dict(labels) for labels in columns.labels]
        arrays = [_labels(pa, [o.get(n) for o in own], rows) for n in self.names]
        odd = is_handle(columns.values)
        arrays.append(pa.array(columns.timestamps_ms, pa.timestamp("ms", "UTC")))
        arrays.append(pa.array(columns.values, pa.float64(), mask=odd))
        packed: list[bytes | None] = [None] * columns.samples
        if columns.histograms is not None:
            for at, number in zip(np.flatnonzero(odd).tolist(), numbers_of(columns.values[odd]).tolist(), strict=True):
                packed[at] = _packed(columns.histograms, number)
        arrays.append(pa.array(packed, pa.binary()))
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the footer; the stream stays open."""
        self._file.close()


def _labels(pa: Any, texts: Sequence[str | None], rows: Any) -> Any:
    """Return a dictionary column of the label of each row."""
    place: dict[str, int] = {}
    codes = np.array([-1 if t is None else place.setdefault(t, len(place)) for t in texts], np.int32)[rows]
    words = [t.encode("utf-8", "replace").decode() for t in place]
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(words, pa.string()))


def _packed(table: Histograms, number: int) -> bytes:
    words = table.words[int(table.offsets[number]) : int(table.offsets[number + 1])]
    return words.astype("<u8", copy=False).tobytes()
