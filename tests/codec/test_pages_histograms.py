"""Native histograms and start times in pages: every bit comes back, little space is taken, damage is noticed."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.codec import pages
from tinyobs.codec.compression import DENSE, FAST, compress, decompress
from tinyobs.codec.histograms import HEADER as SECTION
from tinyobs.codec.histograms import decode_histograms, encode_histograms
from tinyobs.codec.pages import FLOATS, HEADER, MIXED, decode_page, encode_page
from tinyobs.model.histograms import (
    Histogram,
    Histograms,
    ResetHint,
    handles,
    histograms_of,
    is_handle,
    numbers_of,
    stale_histogram,
)
from tinyobs.model.ragged import offsets_of
from tinyobs.model.staleness import NORMAL_NAN_BITS, STALE_NAN

ANY_WORD = st.one_of(
    st.sampled_from([0, 1, 1 << 63, (1 << 64) - 1, 0x7FF0000000000002, 0xFFFD000000000000]),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 999),
)


@st.composite
def tables(draw, largest=12):
    """Draw histograms of any words that fit together, few layouts among them."""
    layouts = []
    for _ in range(draw(st.integers(1, 3))):
        positive, negative, custom = (draw(st.integers(0, 3)) for _ in range(3))
        head = draw(st.integers(0, 255)) | positive << 16 | negative << 32 | custom << 48
        spans = [
            draw(st.integers(0, (1 << 32) - 1)) | draw(st.integers(0, 3)) << 32 for _ in range(positive + negative)
        ]
        layouts.append((head, draw(ANY_WORD), spans, [draw(ANY_WORD) for _ in range(custom)]))
    few = draw(st.lists(ANY_WORD, min_size=1, max_size=5))
    rows = []
    for i in range(draw(st.integers(1, largest))):
        head, threshold, spans, custom = draw(st.sampled_from(layouts))
        data = [few[(i * j + j) % len(few)] for j in range(3 + sum(s >> 32 for s in spans))]
        rows.append(
            [head | draw(st.integers(0, 255)) << 8, threshold, *data[:3], *spans, *data[3:], *custom],
        )
    words = np.array([w for r in rows for w in r], np.uint64)
    return Histograms(offsets_of(np.array([len(r) for r in rows])), words)


@st.composite
def columns(draw):
    """Draw (offsets, times, values, table, starts) of up to five rows in which floats and histograms mix."""
    table = draw(tables())
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5))
    offsets = offsets_of(np.array(lengths))
    count = int(offsets[-1])
    times = np.concatenate([np.empty(0, np.int64), *(np.arange(n) * 15_000 for n in lengths)]).astype(np.int64)
    numbers = draw(st.lists(st.integers(-2, len(table) - 1), min_size=count, max_size=count))
    number = np.array(numbers, np.int64)
    all_handles = handles(0, len(table))
    values = np.where(number < 0, np.where(number == -1, 2.5, STALE_NAN), all_handles[np.maximum(number, 0)])
    known = draw(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=3))
    starts = draw(st.sampled_from([None, np.array([known[i // 4 % len(known)] for i in range(count)], np.int64)]))
    return offsets, times, values, table, starts


def words_behind(values, table):
    """Return what each sample is, comparable: the bits of a float or the words of a histogram."""
    bits = np.ascontiguousarray(values).view(np.uint64).tolist()
    numbers = numbers_of(values).tolist()
    return [
        bits[i] if n < 0 else table.words[table.offsets[n] : table.offsets[n + 1]].tobytes()
        for i, n in enumerate(numbers)
    ]


def compare(got, offsets, times, values, table, starts):
    """Compare what was read with what was written, bit for bit."""
    got_offsets, got_times, got_values, got_table, got_starts = got
    np.testing.assert_array_equal(got_offsets, offsets)
    np.testing.assert_array_equal(got_times, times)
    at = np.flatnonzero(is_handle(got_values))
    assert numbers_of(got_values[at]).tolist() == list(range(len(at)))
    assert (got_table is None) == (not len(at))
    if got_table is not None:
        got_table.validate()
        assert len(got_table) == len(at)
    assert words_behind(got_values, got_table) == words_behind(values, table)
    assert got_starts is None or starts is not None
    if starts is not None:
        np.testing.assert_array_equal(np.zeros(len(starts), np.int64) if got_starts is None else got_starts, starts)


@settings(max_examples=150, deadline=None)
@given(columns(), st.sampled_from([FAST, DENSE]))
def test_any_histograms_among_any_floats_come_back(drawn, level):
    """Histograms of any words, floats between them and start times survive encoding, numbered by appearance."""
    offsets, times, values, table, starts = drawn
    data = encode_page(offsets, times, values, level, histograms=table, starts_ms=starts)
    is_mixed = is_handle(values).any() or (starts is not None and starts.any())
    assert data[2] == (MIXED if is_mixed else FLOATS)
    page = decode_page(data)
    compare(page.read(), *drawn)
    assert page.nbytes > 0


@settings(max_examples=150, deadline=None)
@given(columns(), st.data())
def test_chosen_rows_and_times_equal_the_same_of_the_whole(drawn, data):
    """Reading some rows in a time range gives what filtering the whole gives."""
    offsets, times, values, table, starts = drawn
    rows = len(offsets) - 1
    page = decode_page(encode_page(offsets, times, values, histograms=table, starts_ms=starts))
    chosen = data.draw(st.one_of(st.none(), st.sets(st.integers(0, rows - 1)).map(sorted)))
    first, last = data.draw(st.tuples(st.integers(-1, 130_000), st.integers(-1, 130_000)))
    row = np.repeat(np.arange(rows), np.diff(offsets))
    inside = (times >= first) & (times <= last)
    if chosen is not None:
        inside &= np.isin(row, chosen)
    picked = np.arange(rows) if chosen is None else np.array(chosen, np.int64)
    want = offsets_of(np.array([int((inside & (row == r)).sum()) for r in picked], np.int64))
    got = page.read(None if chosen is None else picked, first, last)
    compare(got, want, times[inside], values[inside], table, None if starts is None else starts[inside])


def latencies(rng, rows, count, is_integer=True):
    """Return histograms as an instrumented server gives them: growing counts, buckets that come into use later."""
    out = []
    for _ in range(rows):
        rates = rng.poisson(300) * np.exp(-(np.linspace(-3, 3, 30) ** 2))
        counts = np.cumsum(rng.poisson(rates, (count, 30)), axis=0)
        sums = np.cumsum(rng.gamma(300, 0.05, count))
        number = int if is_integer else float
        for c, total in zip(counts, sums, strict=True):
            used = np.flatnonzero(c)
            first, last = int(used[0]), int(used[-1]) + 1
            out.append(
                Histogram(
                    3,
                    2.0**-128,
                    number(0),
                    number(c.sum()),
                    float(total),
                    ((first - 20, last - first),),
                    tuple(map(number, c[first:last].tolist())),
                    is_integer=is_integer,
                )
            )
    return histograms_of(out)


def even(rows, count):
    """Return (offsets, times) of rows scraped each 15 s."""
    return np.arange(rows + 1) * count, np.tile(np.arange(count) * 15_000 + 1_700_000_000_000, rows)


@pytest.mark.parametrize("is_integer", [True, False])
def test_realistic_histograms_are_small(is_integer):
    """Growing histograms take less than a byte a bucket, whether their counts are integers or whole floats."""
    table = latencies(np.random.default_rng(1), 6, 240, is_integer)
    offsets, times = even(6, 240)
    data = encode_page(offsets, times, handles(0, len(table)), histograms=table)
    buckets = len(table.buckets().counts)
    assert len(data) < 0.9 * buckets
    page = decode_page(data)
    assert page.nbytes < 3 * len(table.words)
    compare(page.read(), offsets, times, handles(0, len(table)), table, None)


def test_start_times_that_stay_cost_next_to_nothing():
    """A start time for each row costs its own bytes, once; unknown ones cost nothing at all."""
    offsets, times = even(50, 100)
    values = np.zeros(5000)
    plain = encode_page(offsets, times, values)
    one = encode_page(offsets, times, values, starts_ms=np.full(5000, 1_600_000_000_000))
    each = encode_page(offsets, times, values, starts_ms=np.repeat(1_600_000_000_000 + np.arange(50) * 9_999, 100))
    assert len(one) < len(plain) + 100
    assert len(each) < len(plain) + 400
    assert encode_page(offsets, times, values, starts_ms=np.zeros(5000, np.int64)) == plain


def test_handles_in_rows_of_histograms_cost_next_to_nothing():
    """The page of one histogram repeated is small: neither handles nor hints nor repeated words take space."""
    offsets, times = even(40, 100)
    table = latencies(np.random.default_rng(2), 1, 30)
    values = np.repeat(handles(29, 30), 4000)
    data = encode_page(offsets, times, values, histograms=table)
    assert len(data) < 900
    compare(decode_page(data).read(), offsets, times, values, table, None)


def test_a_stale_marker_disturbs_no_row():
    """A float marker or a stale histogram at the end of a row costs a few bytes."""
    table = latencies(np.random.default_rng(3), 1, 200)
    offsets, times = even(1, 200)
    values = handles(0, 200)
    plain = len(encode_page(offsets, times, values, histograms=table))
    marked = values.copy()
    marked[-1] = STALE_NAN
    assert len(encode_page(offsets, times, marked, histograms=table)) < plain + 40
    stale = Histograms(
        np.append(table.offsets, table.offsets[-1] + 5),
        np.concatenate([table.words, histograms_of([stale_histogram()]).words]),
    )
    marked[-1] = handles(200, 201)[0]
    data = encode_page(offsets, times, marked, histograms=stale)
    assert len(data) < plain + 120
    compare(decode_page(data).read(), offsets, times, marked, stale, None)


def test_hints_and_resets_come_back():
    """Hints, resets to fewer buckets and a change of schema in one row are kept."""
    parts = [
        Histogram(3, 0.0, 0, 5, 1.0, ((0, 2),), (2, 3), reset_hint=ResetHint.YES, is_integer=True),
        Histogram(3, 0.0, 0, 9, 2.0, ((0, 2), (2, 1)), (2, 3, 4), reset_hint=ResetHint.NO, is_integer=True),
        Histogram(3, 0.0, 0, 1, 0.5, ((0, 1),), (1,), reset_hint=ResetHint.YES, is_integer=True),
        Histogram(1, 0.0, 0.5, 2.0, 0.5, ((0, 1),), (1.5,), ((-1, 1),), (0.0,), reset_hint=ResetHint.GAUGE),
        Histogram(-53, 0.0, 0.0, 2.0, 0.5, ((1, 1),), (2.0,), custom_values=(0.1, 0.5)),
    ]
    offsets, times = even(1, 5)
    _, _, values, table, _ = decode_page(
        encode_page(offsets, times, handles(0, 5), histograms=histograms_of(parts))
    ).read()
    assert [table.one(n) for n in numbers_of(values)] == parts


def test_more_columns_than_a_block_holds(monkeypatch):
    """Histograms with more columns than a block of integer rows may have are cut into several blocks."""
    monkeypatch.setattr("tinyobs.codec.histograms.ROWS_MAX", 16)
    table = latencies(np.random.default_rng(4), 3, 20)
    offsets, times = even(3, 20)
    page = decode_page(encode_page(offsets, times, handles(0, 60), histograms=table))
    compare(page.read(), offsets, times, handles(0, 60), table, None)
    compare(page.read(np.array([1])), offsets[:2], times[20:40], handles(20, 40), table, None)


def test_inconsistent_input_is_refused():
    """A handle without histogram, and words that are no histogram, raise ValueError."""
    offsets, times = even(1, 2)
    table = histograms_of([stale_histogram()])
    with pytest.raises(ValueError, match="not in the table"):
        encode_page(offsets, times, handles(0, 2), histograms=table)
    bad = Histograms(table.offsets, table.words.copy())
    bad.words[0] |= np.uint64(1 << 16)
    with pytest.raises(ValueError, match="cut short"):
        encode_page(offsets, times, np.repeat(handles(0, 1), 2), histograms=bad)


def test_a_page_gives_no_handle_that_it_did_not_take():
    """A float whose bits would mean a histogram is read as the ordinary NaN beside histograms."""
    offsets, times = even(1, 40)
    values = np.full(40, 1.5)
    values[20], values[30] = STALE_NAN, handles(0, 1)[0]
    page = decode_page(encode_page(offsets, times, values, histograms=histograms_of([stale_histogram()])))
    assert len(page._patches) == 1
    page._patches.flags.writeable = True
    page._patches[0] = handles(7, 8).view(np.uint64)[0]
    _, _, got, _, _ = page.read()
    assert got.view(np.uint64)[20] == NORMAL_NAN_BITS
    assert np.flatnonzero(is_handle(got)).tolist() == [30]


def test_the_page_of_the_format_document():
    """The second worked example of page.md decodes to the samples that it claims, and is what the writer writes."""
    page = Path(__file__).resolve().parents[2] / "docs" / "format" / "page.md"
    block = re.findall(r"```hex\n(.*?)```", page.read_text(), re.DOTALL)[1]
    data = bytes.fromhex("".join(line.partition(" ")[2] for line in block.splitlines()))
    offsets, times, values, table, starts = decode_page(data).read()
    assert offsets.tolist() == [0, 4]
    assert times.tolist() == [1000, 16000, 31000, 46000]
    assert starts.tolist() == [500] * 4
    assert values[3] == 7
    assert numbers_of(values).tolist() == [0, 1, 2, -1]
    claimed = ((6, 2.5, (3, 2)), (9, 4.0, (4, 4)), (12, 5.5, (5, 6)))
    assert [table.one(i) for i in range(3)] == [
        Histogram(0, 0.0, 1, count, total, ((0, 2),), buckets, is_integer=True) for count, total, buckets in claimed
    ]
    again = decode_page(encode_page(offsets, times, values, histograms=table, starts_ms=starts))
    compare(again.read(), offsets, times, values, table, starts)


# -- damage ----------------------------------------------------------------------------------------------------


def sample_page():
    table = latencies(np.random.default_rng(5), 2, 12)
    offsets, times = even(2, 12)
    values = handles(0, 24)
    values[5] = 1.0
    return encode_page(offsets, times, values, histograms=table, starts_ms=np.full(24, 77))


SOUND = sample_page()


def resealed(page):
    """Return a page with its length and checksum put right."""
    page = bytearray(page)
    page[8:12] = (len(page) - HEADER.size).to_bytes(4, "little")
    checksum = zlib.crc32(page[HEADER.size :], zlib.crc32(page[8 : HEADER.size], zlib.crc32(page[:4])))
    page[4:8] = checksum.to_bytes(4, "little")
    return bytes(page)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_under_a_right_checksum_is_refused_or_harmless(data):
    """What passes as a page can be read without any other error, whatever its bytes are."""
    bad = bytearray(SOUND)
    match data.draw(st.sampled_from(["flip", "cut", "add", "swap"])):
        case "flip":
            for _ in range(data.draw(st.integers(1, 3))):
                bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
        case "cut":
            at = data.draw(st.integers(HEADER.size, len(bad) - 1))
            del bad[at : at + data.draw(st.integers(1, len(bad)))]
        case "add":
            at = data.draw(st.integers(HEADER.size, len(bad)))
            bad[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        case "swap":
            bad[data.draw(st.integers(HEADER.size, len(bad) - 1)) :] = data.draw(st.binary(max_size=40))
    try:
        page = decode_page(resealed(bad))
    except ValueError:
        return
    offsets, times, values, table, _ = page.read()
    assert int(offsets[-1]) == len(times) == len(values)
    if table is not None:
        table.validate()
        assert numbers_of(values).max() < len(table)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_table_of_histograms_is_refused_or_harmless(data):
    """Whatever the decompressed table says, the section is refused, or gives consistent histograms of bounded size."""
    table = latencies(np.random.default_rng(6), 2, 4)
    places = np.array([0, 1, 2, 3, 5, 6, 7, 8])
    offsets = np.array([0, 5, 5, 10])
    sound = encode_histograms(table, places, offsets, FAST)
    sizes = list(SECTION.unpack_from(sound))
    end = SECTION.size + sizes[-1]
    inner = bytearray(decompress(sound[SECTION.size : end], inner_size(sizes)))
    for _ in range(data.draw(st.integers(1, 3))):
        inner[data.draw(st.integers(0, len(inner) - 1))] = data.draw(st.one_of(st.integers(0, 9), st.integers(0, 255)))
    if data.draw(st.booleans()):
        i = data.draw(st.integers(0, 5))
        sizes[i] = max(0, sizes[i] + data.draw(st.integers(-2, 2)))
        inner = inner.ljust(inner_size(sizes), b"\0")[: inner_size(sizes)]
    packed = compress(bytes(inner), FAST)
    section = SECTION.pack(*sizes[:-1], len(packed)) + packed + sound[end:]
    try:
        found, used = decode_histograms(memoryview(section), offsets)
    except ValueError:
        return
    assert used == len(section)
    at, numbers = found.find(np.arange(10))
    assert numbers.tolist() == list(range(len(at))) == list(range(len(found)))
    found.take(numbers).validate()
    found.take(numbers[1:2]).validate()


def inner_size(sizes):
    """Return the bytes of the table of a section."""
    stretches, runs, layouts, words, columns, patches, _ = sizes
    return columns + 4 * (stretches + 2 * runs + layouts + patches) + 8 * (patches + words)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_are_no_histograms(data):
    """Random bytes raise ValueError."""
    with pytest.raises(ValueError):
        decode_histograms(memoryview(data), np.array([0, 5]))


def test_changed_bytes_are_noticed():
    """A page with one byte changed, or cut anywhere, is refused."""
    for i in range(len(SOUND)):
        bad = bytearray(SOUND)
        bad[i] ^= 1 + i % 255
        with pytest.raises(ValueError):
            decode_page(bytes(bad))
        with pytest.raises(ValueError):
            decode_page(SOUND[:i])


def test_too_many_words_are_refused(monkeypatch):
    """The limit on words of histograms holds when reading."""
    monkeypatch.setattr("tinyobs.codec.histograms.WORDS_MAX", 300)
    with pytest.raises(ValueError, match="too many"):
        decode_page(SOUND)


def test_unknown_sections_are_refused():
    """A mixed page with sections that this release does not know is refused, not read in part."""
    bad = bytearray(SOUND)
    bad[3] |= 8
    with pytest.raises(ValueError, match="sections 11 are not known"):
        decode_page(resealed(bad))
    assert pages.STARTS | pages.HISTOGRAMS == 3
