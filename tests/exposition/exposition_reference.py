"""A slow parser of both text formats, written for plainness: the oracle of the fast one.

It goes through a body byte by byte, remembers nothing, and makes one tuple per sample.
"""

import math
import re
import struct

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(?i:inf|infinity)|(?i:nan)")
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
DIGITS = b"0123456789"


class Refused(Exception):
    """The body is malformed."""


def number(token):
    """Return the value of a number."""
    if not NUMBER.fullmatch(token):
        raise Refused(token)
    value = float(token)
    if math.isinf(value) and b"n" not in token.lower():
        raise Refused("range")
    return value


def bits(value):
    """Return something that is equal for equal values, signed zeros and NaN included."""
    return "nan" if value != value else struct.pack(">d", value)


class Cursor:
    """A position in a body."""

    def __init__(self, data, openmetrics):
        self.data, self.at, self.om = data, 0, openmetrics

    def peek(self):
        """Return the byte at the position, empty at the end."""
        return self.data[self.at : self.at + 1]

    def take(self, what):
        """Step over bytes that must stand here."""
        if not self.data.startswith(what, self.at):
            raise Refused((what, self.at))
        self.at += len(what)

    def blanks(self):
        """Step over blanks where the format allows them."""
        while not self.om and self.peek() in (b" ", b"\t"):
            self.at += 1

    def name(self, colon):
        """Read an unquoted name."""
        start = self.at
        first = LETTERS + (b":" if colon else b"")
        while self.peek() and self.peek() in (first if self.at == start else first + DIGITS):
            self.at += 1
        if start == self.at:
            raise Refused(("name", self.at))
        return self.data[start : self.at].decode()

    def string(self):
        """Read a quoted string."""
        self.take(b'"')
        out = bytearray()
        while self.peek() != b'"':
            c = self.peek()
            if not c or (c == b"\n" and self.om):
                raise Refused("string")
            self.at += 1
            if c == b"\\":
                e = self.peek()
                if not e or e == b"\n":
                    raise Refused("escape")
                self.at += 1
                out += {b"n": b"\n", b'"': b'"', b"\\": b"\\"}.get(e, b"\\" + e)
            else:
                out += c
        self.at += 1
        try:
            return out.decode()
        except UnicodeDecodeError:
            raise Refused("utf-8") from None

    def token(self, stop):
        """Read up to one of some bytes."""
        start = self.at
        while self.peek() and self.peek() not in stop:
            self.at += 1
        if start == self.at:
            raise Refused(("token", self.at))
        return self.data[start : self.at]


def braces(c, name, exemplar=False):
    """Read labels in braces; return (metric name, labels)."""
    labels = []
    c.take(b"{")
    while True:
        c.blanks()
        if c.peek() == b"}":
            c.at += 1
            return name, labels
        quoted = c.peek() == b'"'
        label = c.string() if quoted else c.name(colon=False)
        c.blanks()
        if quoted and not exemplar and c.peek() and c.peek() in b",}":
            if name is not None:
                raise Refused("name twice")
            name = label
            if c.peek() == b",":
                c.at += 1
            continue
        if not label:
            raise Refused("empty")
        c.take(b"=")
        c.blanks()
        labels.append((label, c.string()))
        c.blanks()
        if c.peek() == b",":
            c.at += 1
        elif c.om and c.peek() != b"}":
            raise Refused("comma")


def label_set(pairs, type_):
    """Return the sorted labels without empty ones."""
    bound = {"histogram": "le", "summary": "quantile"}.get(type_)
    out = {}
    empty = {k for k, v in pairs if not v}
    if "__name__" in empty:
        raise Refused("no name")
    for k, v in pairs:
        if k in empty:
            continue
        if k in out:
            raise Refused("duplicate")
        if k == bound and NUMBER.fullmatch(v.encode("utf-8", "surrogatepass")):
            f = float(v)
            if not (math.isinf(f) and "n" not in v.lower()):
                v = openmetrics_float(f)
        out[k] = v
    return tuple(sorted((k, v) for k, v in out.items() if v))


def openmetrics_float(f):
    """Return a float as Go writes it, with a point."""
    if f != f:
        return "NaN"
    if math.isinf(f):
        return "+Inf" if f > 0 else "-Inf"
    if f == 0:
        return "0.0"
    for digits in range(17):
        text = f"{f:.{digits}e}"
        if float(text) == f:
            break
    mantissa, _, e = text.partition("e")
    if int(e) < -4 or int(e) >= 6:
        return f"{mantissa}e{e[0]}{e[1:].zfill(2)}"
    text = f"{f:.{max(0, digits - int(e))}f}"
    return text if "." in text else text + ".0"


def sample(c, type_):
    """Read a sample line."""
    c.blanks()
    name = None if c.peek() == b"{" else c.name(colon=True)
    mark = c.at
    c.blanks()
    labels = []
    if c.peek() == b"{":
        name, labels = braces(c, name)
    else:
        c.at = mark
    if not name:
        raise Refused("no name")
    labels = label_set([("__name__", name), *labels], type_)
    time = exemplar = None
    if not c.om:
        c.blanks()
        value = number(c.token(b"{ \t\n"))
        c.blanks()
        if c.peek() and c.peek() in DIGITS:
            start = c.at
            while c.peek() and c.peek() in DIGITS:
                c.at += 1
            time = int(c.data[start : c.at])
            if time >= 1 << 63:
                raise Refused("time")
            c.blanks()
        if c.peek():
            c.take(b"\n")
        return labels, bits(value), time, None
    c.take(b" ")
    value = number(c.token(b" \n"))
    if c.peek() == b" " and not c.data.startswith(b" # {", c.at):
        c.take(b" ")
        time = seconds(c.token(b" \n"))
    if c.data.startswith(b" # {", c.at):
        c.take(b" # ")
        _, pairs = braces(c, None, exemplar=True)
        c.take(b" ")
        exemplar_value = number(c.token(b" \n"))
        exemplar_time = None
        if c.peek() == b" ":
            c.take(b" ")
            exemplar_time = seconds(c.token(b" \n"))
        exemplar = tuple(sorted((k, v) for k, v in dict(pairs).items() if v)), bits(exemplar_value), exemplar_time
    c.take(b"\n")
    return labels, bits(value), time, exemplar


def seconds(token):
    """Return a timestamp in milliseconds."""
    value = number(token)
    if not math.isfinite(value) or abs(value * 1000) >= 1 << 63:
        raise Refused("time")
    return int(value * 1000)


def parse(body, openmetrics):
    """Return [(labels, value bits, timestamp, exemplar)], or raise Refused."""
    c = Cursor(body, openmetrics)
    type_, out = "", []
    if not body:
        return out
    while c.at < len(body):
        end = body.find(b"\n", c.at)
        line = body[c.at :] if end < 0 else body[c.at : end]
        stripped = line if openmetrics else line.lstrip(b" \t")
        if openmetrics and line == b"# EOF":
            if body[c.at :] not in (b"# EOF", b"# EOF\n"):
                raise Refused("after EOF")
            return out
        if stripped[:1] == b"#" or (not stripped and not openmetrics):
            blank = rb" " if openmetrics else rb"[ \t]+"
            m = re.match(rb"#" + blank + rb"(HELP|TYPE|UNIT)" + blank, stripped)
            if m and not (m[1] == b"UNIT" and not openmetrics):
                type_ = metadata(stripped, m, openmetrics, type_)
                if openmetrics and end < 0:
                    raise Refused("cut")
            elif openmetrics:
                raise Refused("comment")
            c.at = len(body) if end < 0 else end + 1
            continue
        out.append(sample(c, type_))
    if openmetrics:
        raise Refused("no EOF")
    return out


def metadata(line, m, openmetrics, type_):
    """Read a metadata line; return the type that holds from here on."""
    c = Cursor(line, openmetrics)
    c.at = m.end()
    name = c.string() if c.peek() == b'"' else c.name(colon=True)
    rest = line[c.at :]
    if openmetrics and rest[:1] != b" ":
        raise Refused("text")
    text = rest[1:]
    if m[1] == b"TYPE":
        known = ["counter", "gauge", "histogram", "summary"]
        known += ["gaugehistogram", "stateset", "info", "unknown"] if openmetrics else ["untyped"]
        if text.decode("utf-8", "replace") not in known:
            raise Refused("type")
        return text.decode()
    if m[1] == b"HELP":
        try:
            text.decode()
        except UnicodeDecodeError:
            raise Refused("help") from None
    elif text and not name.endswith("_" + text.decode("utf-8", "replace")):
        raise Refused("unit")
    return type_
