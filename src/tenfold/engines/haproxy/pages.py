"""What HAProxy itself answers when no web server does: problem documents in the form of the service's own. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

RETRY_AFTER_S = 1
CONTENT_TYPE = "application/problem+json"
MADE_HERE = "x-tenfold-made-here"
"""Marks a page of HAProxy inside HAProxy; it never leaves."""


@dataclass(frozen=True)
class Page:
    """One answer: its status, the code of docs/errors.md, and what it says."""

    status: int
    code: str
    detail: str


PAGES = (
    Page(400, "TF-REQUEST", "This is not an HTTP request as it should be."),
    Page(401, "TF-REQUEST", "This needs to know who asks."),
    Page(403, "TF-REQUEST", "This is not allowed."),
    Page(404, "TF-NOT-FOUND", "There is nothing at this address."),
    Page(405, "TF-REQUEST", "This method is not allowed here."),
    Page(408, "TF-REQUEST", "The request did not arrive in time."),
    Page(413, "TF-REQUEST", "The body is larger than this service accepts."),
    Page(429, "TF-LIMIT", "These are too many requests from one client."),
    Page(500, "TF-INTERNAL", "The request could not be answered."),
    Page(502, "TF-UNKNOWN", "The web server ended in the middle of this request: it may or may not have been applied."),
    Page(503, "TF-UNAVAILABLE", "No web server took this request. It was not applied; send it again in a moment."),
    Page(504, "TF-UNKNOWN", "The web server did not answer in time: the request may or may not have been applied."),
)
BUSY = Page(503, "TF-BUSY", "Too many requests wait already. It was not applied; send it again in a moment.")
REPEATED = "txn.repeated"
"""HAProxy's variable: whether this is a write that may be sent to a second server after a first one died with it."""
_PERHAPS = Page(502, "TF-UNKNOWN", "The web servers ended in the middle of it; its key makes it safe to send again.")


def body(page: Page, instance: str) -> str:
    """The document as one line of HAProxy's log format; `instance` is its expression for the request's id."""
    told = _document(page)
    if page.status == 503 and page is not BUSY:
        # A write that was sent again may have been applied by a server that died, so it cannot say that it was not.
        both = zip(_document(_PERHAPS), told, strict=True)
        told = [perhaps if perhaps == no else f"%[var({REPEATED}),iif({perhaps},{no})]" for perhaps, no in both]
        assert not any(set(",()") & set(text) for text in (*_document(_PERHAPS), *_document(page))), "ends an argument"
    names = ("type", "title", "status", "code", "detail")
    members = [
        f'"{name}":{value}' if name == "status" else f'"{name}":"{value}"'
        for name, value in zip(names, told, strict=True)
    ]
    assert "'" not in "".join(members), "the text stands in single quotes in HAProxy's config"
    return "{" + ",".join(members) + f',"instance":"{instance}"' + "}"


def _document(page: Page) -> list[str]:
    return [f"urn:tenfold:{page.code}", HTTPStatus(page.status).phrase, str(page.status), page.code, page.detail]


def error_line(page: Page, instance: str) -> str:
    """The `http-error` line that makes HAProxy answer so when it fails a request by itself."""
    return f"http-error status {page.status} {_reply(page, instance)} hdr {MADE_HERE} 1"


def return_words(page: Page, instance: str) -> str:
    """The words after `http-request` (or `http-response`) that answer so at once."""
    return f"return status {page.status} {_reply(page, instance)}"


def _reply(page: Page, instance: str) -> str:
    words = f"content-type {CONTENT_TYPE} lf-string '{body(page, instance)}' hdr cache-control no-store"
    return f"{words} hdr retry-after {RETRY_AFTER_S}" if page.status == 503 else words
