"""Grouping keys in paths.  That they mean what upstream makes of them is compared in tests/builtin/pushgateway/test_pushgateway_peer.py."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tinyobs.errors import WireError
from tinyobs.exposition.grouping_key import LABELS_MAX, PATH_BYTES_MAX, grouping_key, unescaped


def test_labels_are_sorted_and_may_be_empty():
    """Which no other label set may."""
    assert grouping_key(b"job/b/a/1/c@base64/=") == (("a", "1"), ("c", ""), ("job", "b"))


def test_the_last_value_may_be_empty():
    """As upstream has it: what `instance/$INSTANCE` becomes where the variable is empty."""
    assert (
        grouping_key(b"job/a/instance/") == grouping_key(b"job/a/instance@base64/=") == (("instance", ""), ("job", "a"))
    )
    assert grouping_key(b"job/a/x@base64/") == (("job", "a"), ("x", ""))
    assert grouping_key(b"job/a/") == (("job", "a"),)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (b"job", "job name is required"),
        (b"job/", "NAME@base64"),
        (b"job@base64/=", "job name is required"),
        (b"job//x/1", "NAME@base64"),
        (b"job/a/x//y/1", "NAME@base64"),
        (b"job//x/", "NAME@base64"),
        (b"job/a//", "NAME@base64"),
        (b"job/a/x//", "odd number"),
        (b"job@base64/", "NAME@base64"),
        (b"job/a/x", "odd number"),
        (b"job/a%2Fb", "odd number"),
        (b"job/a/x-y/1", "improper label name"),
        (b"job/a/__x/1", "improper label name"),
        (b"job/a/x@base64/!", "invalid base64"),
        (b"job/a/x@base64/YQY", None),
        (b"job/a/x@base64/Y", "invalid base64"),
        (b"job/a/x@base64/gA", "not UTF-8"),
        (b"job/%zz", "percent"),
        (b"job/%ff", "not UTF-8"),
        (b"jobs/a", "job name is required"),
        (b"", "NAME@base64"),
        (b"job/a" + b"/x/1" * LABELS_MAX, f"more than {LABELS_MAX} labels"),
        (b"job/" + b"a" * PATH_BYTES_MAX, "bytes"),
    ],
)
def test_paths_that_are_none(path, message):
    """Each is told why."""
    if message is None:
        assert grouping_key(path)
        return
    with pytest.raises(WireError, match=message):
        grouping_key(path)


def test_names_in_upstreams_escaping():
    """Only where it is asked for, and only what is escaped soundly."""
    path = b"job/a/U__my_2e_label/1"
    assert dict(grouping_key(path)) == {"job": "a", "U__my_2e_label": "1"}
    assert dict(grouping_key(path, utf8_names=True)) == {"job": "a", "my.label": "1"}
    assert unescaped("U__a__b") == "a_b"
    for text in ("plain", "U__a_", "U__a_zz_", "U__a_d800_", "U__a_110000_"):
        assert unescaped(text) == text


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@seed(1)
@given(
    st.dictionaries(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,8}", fullmatch=True), TEXT, max_size=4), TEXT, st.booleans()
)
def test_what_is_encoded_is_decoded(labels, job, plain):
    """In base64, or percent-encoded where that can be."""
    labels.pop("job", None)
    job = job or "j"

    def part(name, value):
        if plain and value and "/" not in value:
            return f"{name}/{quote(value, safe='')}"
        return f"{name}@base64/{base64.urlsafe_b64encode(value.encode()).decode().rstrip('=') or '='}"

    path = "/".join([part("job", job), *(part(*item) for item in labels.items())])
    assert dict(grouping_key(path.encode())) == {**labels, "job": job}


@seed(2)
@settings(max_examples=300)
@given(st.binary(max_size=60), st.booleans())
def test_any_path(path, utf8):
    """Gives a key with a job, or an error."""
    for beginning in (b"", b"job/", b"job@base64/YQ/"):
        try:
            key = grouping_key(beginning + path, utf8_names=utf8)
        except WireError:
            continue
        assert dict(key)["job"]
        assert list(key) == sorted(key)
