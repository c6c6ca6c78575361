"""The check of receivers passes one that keeps all promises, and finds each that is broken."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from starlette.responses import Response

from tinyobs.abc import Route
from tinyobs.errors import TinyObsError
from tinyobs.exposition.pushed import Faults
from tinyobs.model.batch import Batch
from tinyobs.model.labels import from_mapping
from tinyobs.receiving.answers import http_error
from tinyobs.receiving.outcome import store_pushed
from tinyobs.receiving.push import take_push
from tinyobs.testing.check_receiver import ReceiverCase, check_receiver

CASE = ReceiverCase("/lines", b"a 1\nb 2\n", 2, bad=b"?", mixed=b"a 1\n?\nb 2\n", mixed_samples=2)


class Lines:
    """A protocol of `name value` lines; `broken` names what it does wrong."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def routes(self, services):
        """Return its route."""
        self.services, self.reception = services, services.reception("lines")
        return [Route("/lines", self.push, ("POST",), whole_body=True)]

    async def push(self, request):
        """Take the lines."""
        try:
            push = await take_push(request, self.services, self.reception)
            pushed = self.decode(push.body)
            outcome = await store_pushed(pushed, push.source, self.reception, self.services.registry)
        except TinyObsError as e:
            if self.broken == "answers 200":
                return Response()
            answer = http_error(e)
            if self.broken == "no retry-after":
                answer.headers = {}
            raise answer from None
        if outcome.problems and not outcome.stored:
            return Response("\n".join(outcome.problems), 400)
        return Response(status_code=204)

    def decode(self, body):
        """Return what the lines say."""
        faults, names, values = Faults(), [], []
        for number, line in enumerate(body.decode().split("\n"), 1):
            if not line:
                continue
            name, _, value = line.partition(" ")
            with suppress(ValueError):
                values.append(float(value))
                names.append(from_mapping({"__name__": name}))
                continue
            if self.broken == "drops all":
                return Faults({"malformed": 1}, ["all"]).pushed(self.batch([], []))
            if self.broken != "no count":
                faults.add("malformed", f"line {number} is no name and value")
        return faults.pushed(self.batch(names, values))

    def batch(self, names, values):
        """Return samples of now."""
        now = self.services.clock.now_ms()
        refs = self.services.registry.intern_many(names)
        return Batch(refs, np.full(len(refs), now), np.array(values, float), "lines")


async def test_a_receiver_that_keeps_all_promises(autojump_clock):
    """It acknowledges what is stored, keeps what is good, and says what is wrong and when to try again."""
    await check_receiver(Lines().routes, CASE)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("answers 200", "could not take samples"),
        ("no retry-after", "when to try again"),
        ("drops all", "0 of 2 good samples"),
        ("no count", "not"),
    ],
)
async def test_a_receiver_that_breaks_one(autojump_clock, broken, message):
    """The check names the promise."""
    with pytest.raises(AssertionError, match=message):
        await check_receiver(Lines(broken).routes, CASE)
