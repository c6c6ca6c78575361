"""Signature Version 4 gives what AWS' published test suite says, case by case."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tinyobs.cloud_auth.aws_signing import AwsKeys, canonical_query, sign, signing_key
from tinyobs.model.secrets import Secret

KEYS = AwsKeys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
NOW_MS = int(datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp() * 1000)
HOST = "https://example.amazonaws.com"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwth"
    "Ax7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAki"
    "Y9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def signed(method, target, headers=None, body=b"", keys=KEYS, service="service"):
    return sign(method, target, headers or {}, body, keys=keys, region="us-east-1", service=service, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("name", "method", "target", "headers", "body", "signature"),
    [
        ("get-vanilla", "GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", {}, b"",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("get-header-key-duplicate", "GET", "/", {"My-Header1": "value2,value2,value1"}, b"",
         "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
        ("get-header-value-multiline", "GET", "/", {"My-Header1": "value1,value2,value3"}, b"",
         "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790"),
        ("get-header-value-trim", "GET", "/", {"My-Header1": " value1", "My-Header2": ' "a   b   c"'}, b"",
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        ("get-utf8", "GET", "/ሴ", {}, b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        ("get-space", "GET", "/example space/", {}, b"",
         "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        ("get-slashes", "GET", "//example//", {}, b"",
         "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
        ("get-relative", "GET", "/example/..", {}, b"",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("get-relative-relative", "GET", "/example1/example2/../..", {}, b"",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("post-vanilla", "POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("post-vanilla-query", "POST", "/?Param1=value1", {}, b"",
         "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
        ("post-header-value-case", "POST", "/", {"My-Header1": "VALUE1"}, b"",
         "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
        ("post-x-www-form-urlencoded", "POST", "/", FORM, b"Param1=value1",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ],
)  # fmt: skip
def test_the_published_suite(name, method, target, headers, body, signature):
    """Each request of the suite gets its signature."""
    assert signed(method, HOST + target, headers, body)["Authorization"].endswith(f", Signature={signature}")


def test_the_whole_header_and_the_session_token():
    """The token of temporary keys is sent and signed; the suite calls it post-sts-header-before."""
    keys = AwsKeys(KEYS.access_key, KEYS.secret_key, Secret(TOKEN))
    assert signed("POST", HOST + "/", keys=keys) == {
        "X-Amz-Date": "20150830T123600Z",
        "X-Amz-Security-Token": TOKEN,
        "Authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date;x-amz-security-token, "
            "Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
        ),
    }
    assert "AQoD" not in repr(keys)


def test_the_walk_through_of_the_manual():
    """The request to IAM and the key that the user guide derives."""
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"
    assert signed("GET", url, headers, service="iam")["Authorization"].endswith(
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )
    assert signing_key(KEYS.secret_key, "20150830", "us-east-1", "iam").hex() == (
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    )


def test_what_changes_on_the_way_is_not_signed():
    """A proxy may rewrite these; a host of the headers is taken instead of the URL's."""
    headers = signed("GET", "https://user@example.amazonaws.com/", {"User-Agent": "x", "Connection": "close"})
    assert headers["Authorization"] == signed("GET", HOST + "/")["Authorization"]
    assert signed("GET", "https://proxy/", {"Host": "example.amazonaws.com"}) == signed("GET", HOST + "/")


def test_parameters_are_sorted_in_their_strict_form():
    """Names first, then values; a plus is a space, a missing value is empty."""
    assert canonical_query("b=2&a=%7e&a=1+2&c&B=ü") == "B=%C3%BC&a=1%202&a=~&b=2&c="
    assert canonical_query("") == ""
