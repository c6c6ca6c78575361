"""The lexer, and the literals it finds: numbers, durations, strings."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyobs.promql.lexer import DURATION, END, ERROR, IDENTIFIER, METRIC_IDENTIFIER, NUMBER, STRING, describe, lex
from tinyobs.promql.numerals import duration_ms, format_duration, format_number, number_value, seconds_to_ms
from tinyobs.promql.strings import quote, quote_char, unquote


def kinds(text: str) -> list[str]:
    """Return the kinds of the tokens of a text, without the end."""
    return [kind for kind, _, _ in lex(text)[:-1]]


def test_tokens_know_their_place() -> None:
    """Every token carries the offset in characters at which it starts, the end too."""
    assert lex(' foo + "é" ') == [(IDENTIFIER, "foo", 1), ("+", "+", 5), (STRING, '"é"', 7), (END, "", 11)]


def test_keywords_are_recognised_in_any_case() -> None:
    """Keywords and aggregators are case-insensitive; Inf and NaN are numbers."""
    assert kinds("SUM By oFFset Inf nan foo a:b") == [
        "sum",
        "by",
        "offset",
        NUMBER,
        NUMBER,
        IDENTIFIER,
        METRIC_IDENTIFIER,
    ]


def test_braces_know_no_keywords() -> None:
    """Inside braces every word is a label name, and comparison of labels has its own signs."""
    assert kinds('{by="x",sum=~"y" , inf!~\'z\', nan!=`\\`}') == (
        [
            "{",
            IDENTIFIER,
            "=",
            STRING,
            ",",
            IDENTIFIER,
            "=~",
            STRING,
            ",",
            IDENTIFIER,
            "!~",
            STRING,
            ",",
            IDENTIFIER,
            "!=",
            STRING,
            "}",
        ]
    )


def test_a_colon_divides_inside_brackets_only() -> None:
    """A colon belongs to names outside brackets and parts range and step inside."""
    assert kinds("a:b[5m:1m]") == [METRIC_IDENTIFIER, "[", DURATION, ":", DURATION, "]"]
    assert kinds("a[STEP() : min_of(1,2)]")[2:6] == ["step", "(", ")", ":"]


def test_fill_is_a_keyword_only_before_a_parenthesis() -> None:
    """Metrics named fill stay metrics."""
    assert kinds("fill + fill (1) fill_left") == [IDENTIFIER, "+", "fill", "(", NUMBER, ")", IDENTIFIER]


def test_comments_end_with_the_line() -> None:
    """A comment is skipped wherever space may stand."""
    assert kinds("a # }\n{ # x\n b = 'c' }[5m # y\n]") == [
        IDENTIFIER,
        "{",
        IDENTIFIER,
        "=",
        STRING,
        "}",
        "[",
        DURATION,
        "]",
    ]


@pytest.mark.parametrize(
    ("text", "start", "message"),
    [
        (".", 0, "unexpected character: '.'"),
        ("2.5.", 0, 'bad number or duration syntax: "2.5."'),
        ("100..4", 0, 'bad number or duration syntax: "100.."'),
        ("0deadbeef", 0, 'bad number or duration syntax: "0de"'),
        ("1__0", 0, 'bad number or duration syntax: "1__"'),
        ("1e", 0, 'bad number or duration syntax: "1e"'),
        ("5m1", 0, 'bad number or duration syntax: "5m1"'),
        ("1 !~ 1", 2, "unexpected character after '!': '~'"),
        ("1 =~ 1", 2, "unexpected character after '=': '~'"),
        ("a !", 2, "unexpected character after '!': '\ufffd'"),
        ("(1))", 4, "unexpected right parenthesis ')'"),
        ("((1)", 4, "unclosed left parenthesis"),
        ("a[5m", 4, "unclosed left bracket"),
        ("a[", 2, "unexpected end of input in duration expression"),
        ("a]", 1, "unexpected right bracket ']'"),
        ("a[5m[", 4, "unexpected left bracket '['"),
        ("a}", 1, "unexpected character: '}'"),
        ("{", 1, "unexpected end of input inside braces"),
        ("{a{", 2, "unexpected left brace '{'"),
        ("{a!b", 2, "unexpected character after '!' inside braces: 'b'"),
        ("{1}", 1, "unexpected character inside braces: '1'"),
        ("a[:5m]", 3, "unexpected colon before duration in duration expression"),
        ("a[5m:1m:1m]", 7, "unexpected colon ':'"),
        ('a["5m"]', 2, "unexpected character in duration expression: '\"'"),
        ("a[5s x 5s]", 5, "unexpected character: 'x', expected ':'"),
        ('"abc', 0, "unterminated quoted string"),
        ("'a\nb'", 0, "unterminated quoted string"),
        ("`abc", 0, "unterminated raw string"),
        ('"\\', 0, "escape sequence not terminated"),
        ('"\\c"', 0, "unknown escape sequence U+0063 'c'"),
        ('"\\x.1"', 0, "illegal character U+002E '.' in escape sequence"),
        ('"\\400"', 0, "escape sequence is an invalid Unicode code point"),
        ('"\\ud800"', 0, "escape sequence is an invalid Unicode code point"),
        ('"\\u12', 0, "escape sequence not terminated"),
        ('"\udcff"', 0, "invalid UTF-8 rune"),
        ("`\udcff`", 0, "invalid UTF-8 rune"),
        ("é", 0, "unexpected character: 'é'"),
        ("\x01", 0, "unexpected character: '\\x01'"),
    ],
)
def test_what_cannot_be_read_ends_the_tokens(text: str, start: int, message: str) -> None:
    """The last token is an error that says what is wrong and where."""
    assert lex(text)[-1] == (ERROR, message, start)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0755", 493),
        ("089", 89),
        ("0xc", 12),
        ("0X_1F", 31),
        ("0x1e", 30),
        ("1_000", 1000),
        ("1_0.5", 10.5),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("5E-3", 0.005),
        ("99999999999999999999", 1e20),
        ("iNf", math.inf),
    ],
)
def test_numbers_mean_what_go_reads(text: str, value: float) -> None:
    """Decimal, hexadecimal, octal, underscores, exponents; too long an integer is a float."""
    assert kinds(text) == [NUMBER]
    assert number_value(text) == value


@pytest.mark.parametrize("text", ["0x", "0xffffffffffffffff", "1e999", "9" * 400])
def test_numbers_without_a_value_are_errors(text: str) -> None:
    """What Go's parser rejects is rejected."""
    with pytest.raises(ValueError, match=r"strconv\.ParseFloat"):
        number_value(text)


def test_durations_run_from_large_to_small() -> None:
    """Units come once each and in order; the total must fit into 292 years."""
    assert duration_ms("1y2w3d4h5m6s7ms") == 31_536_000_000 + 14 * 86_400_000 + 3 * 86_400_000 + 14_706_007
    for text in ("5m1h", "5m1m"):
        with pytest.raises(ValueError, match=f'not a valid duration string: "{text}"'):
            duration_ms(text)
    with pytest.raises(ValueError, match='unknown unit "hs" in duration "5y1hs"'):
        duration_ms("5y1hs")
    with pytest.raises(ValueError, match="duration out of range"):
        duration_ms("300y")


def test_endless_numbers_are_bounded() -> None:
    """Digits without end yield a value or an error, soon."""
    assert number_value("0" + "7" * 30) == float("7" * 30)
    for text in ("0" + "7" * 100_000, "1" + "0" * 100_000, "0x" + "f" * 100_000):
        with pytest.raises(ValueError, match=r"strconv\.ParseFloat"):
            number_value(text)
    with pytest.raises(ValueError, match="not a valid duration string"):
        duration_ms("1" * 100_000 + "m")


@given(st.integers(min_value=0, max_value=2**62 // 1_000_000))
def test_printed_durations_read_back(milliseconds: int) -> None:
    """Printing a duration loses nothing."""
    assert duration_ms(format_duration(milliseconds)) == milliseconds


def test_years_and_weeks_are_printed_only_when_whole() -> None:
    """90d stays 90d; a negative duration has its sign in front."""
    week = 7 * 86_400_000
    assert [format_duration(ms) for ms in (0, week, week + 1, -90_000, 365 * 86_400_000)] == [
        "0s",
        "1w",
        "7d1ms",
        "-1m30s",
        "1y",
    ]


def test_seconds_become_whole_milliseconds() -> None:
    """Rounded to nanoseconds first, then cut."""
    assert [seconds_to_ms(s) for s in (4.018, -0.5, 0.0009, 1.9999999999)] == [4018, -500, 0, 2000]
    assert seconds_to_ms(678_398_757.931) == 678_398_757_931


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e16, "10000000000000000"),
        (1e-05, "0.00001"),
        (0.1, "0.1"),
        (-0.0, "-0"),
        (2.0, "2"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_print_without_exponent(value: float, text: str) -> None:
    """The fewest digits that give the number back, as Go prints it."""
    assert format_number(value) == text


def test_strings_know_all_escapes() -> None:
    """Bytes given by number join to UTF-8; those that do not are kept apart."""
    literal = r'"\a\b\f\n\r\t\v\\\" - \xe2\x98\xba\101☺ሴ\U00010111"'
    assert unquote(literal) == '\a\b\f\n\r\t\v\\" - ☺A☺\u1234\U00010111'
    assert unquote("'it\\'s'") == "it's"
    assert unquote("`\\n\"'`") == "\\n\"'"
    assert unquote(r'"\xff\377"') == "\udcff\udcff"


def test_quoting_is_that_of_go() -> None:
    """What cannot be printed is escaped."""
    assert quote('a"\\\n\x00\x7fé☺\udcc5\u200b\U000e0001') == '"a\\"\\\\\\n\\x00\\x7fé☺\\xc5\\u200b\\U000e0001"'
    assert [quote_char(c) for c in ("'", "\n", "", "é")] == ["'\\''", "'\\n'", "'\ufffd'", "'é'"]


@given(st.text())
def test_quoted_text_reads_back(text: str) -> None:
    """Quoting and reading is the identity, and the lexer sees one string."""
    text = text.encode("utf-8", "replace").decode()
    assert unquote(quote(text)) == text
    assert kinds(quote(text)) == [STRING]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("foo", 'identifier "foo"'),
        ("a:b", 'metric identifier "a:b"'),
        ("5", 'number "5"'),
        ("5m", 'duration "5m"'),
        ("'a'", "string \"'a'\""),
        ("'abcdefghijk'", 'string "\'abcdefghi"...'),
        ("BY", "<BY>"),
        ("sum", "<aggr:sum>"),
        ("and", "<op:and>"),
        ("<=", "<op:<=>"),
        (">/", "<op:>/>"),
        ("(", '"("'),
        ("step", '"step"'),
        ("", END),
    ],
)
def test_messages_name_tokens_as_prometheus_does(text: str, shown: str) -> None:
    """Kinds have their own form, long texts are cut."""
    assert describe(lex(text)[0]) == shown


ALPHABET = st.sampled_from([*"abx:_ \n\t(){}[],=!~<>+-*/%^@#.5017emsdy\"'`\\é\udcff", "sum", "5m", "step()"])


@settings(max_examples=300)
@given(st.lists(ALPHABET, max_size=30).map("".join))
def test_tokens_lie_in_the_text_in_order(text: str) -> None:
    """Whatever the text, tokens are stretches of it, in order, without overlap, and the last ends it or is an error."""
    tokens = lex(text)
    at = 0
    for kind, lexeme, start in tokens[:-1]:
        assert kind not in (END, ERROR)
        assert start >= at
        assert text[start : start + len(lexeme)] == lexeme
        at = start + len(lexeme)
    assert tokens[-1][0] in (END, ERROR)
    assert at <= tokens[-1][2] <= len(text)
