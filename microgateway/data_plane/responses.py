"""What the gateway writes to a client besides bodies: its own fields on every answer, and answers of its own."""

import json

from microgateway.exchange import NO_CONTENT, Exchange, Problem

_PROBLEM_FIELDS = b"Content-Type: application/problem+json\r\nCache-Control: no-store\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def added_fields(exchange: Exchange) -> bytes:
    """The lines that every answer gets, each with its line end. Limits are told where a limit was applied."""
    limited_by = None if exchange.judgement is None else exchange.judgement.limited_by
    if limited_by is None:
        return b"X-Request-Id: %b\r\n" % exchange.request_id
    told = limited_by.limit.told(exchange.level)
    return b"X-Request-Id: %b\r\n%b%b" % (exchange.request_id, limited_by.policy_field, told)


def answer_head(passed_on: bytes, exchange: Exchange, framing: bytes, body: bytes = b"") -> bytes:
    """The head of a service's answer as the client gets it: its lines, those of `added_fields`, and our framing.

    A `body` that is there already comes behind it, in one piece.
    """
    request_id = exchange.request_id
    limited_by = exchange.judgement.limited_by  # type: ignore[union-attr]  # or no service had been asked
    if limited_by is None:
        return b"%bX-Request-Id: %b\r\n%b\r\n%b" % (passed_on, request_id, framing, body)
    level, limit, policy = exchange.level, limited_by.limit, limited_by.policy_field
    told = limit.told_after_one if level == limit.after_one else limit.told(level)
    return b"%bX-Request-Id: %b\r\n%b%b%b\r\n%b" % (passed_on, request_id, policy, told, framing, body)


def problem_answer(problem: Problem, request_id: bytes, added: bytes, *, keep_alive: bool, with_body: bool) -> bytes:
    """A whole answer, as RFC 9457 has it. An answer to HEAD keeps the length and leaves out the body.

    `added` are the lines that do not depend on the problem.
    """
    last = b"" if keep_alive else b"Connection: close\r\n"
    if problem.status == NO_CONTENT:
        return b"HTTP/1.1 204 No Content\r\n%b%b%b\r\n" % (added, problem.fields, last)
    body = json.dumps(
        {
            "type": f"urn:microgateway:problem:{problem.code}",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
            "stage": problem.stage,
            "request_id": request_id.decode("ascii"),
        }
    ).encode()
    head = b"HTTP/1.1 %d %b\r\n%b%b%bContent-Length: %d\r\n%b\r\n" % (
        problem.status,
        problem.title.encode(),
        added,
        problem.fields,
        _PROBLEM_FIELDS,
        len(body),
        last,
    )
    return head + body if with_body else head
