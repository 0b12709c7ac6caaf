"""`headgate login --oidc`: the provider's page in a browser, and its answer on loopback."""

from __future__ import annotations

import sys
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

import typer

from headgate.api.gateway.v1 import staff_pb2
from headgate.cli.config import WrongUse
from headgate.cli.session import open_session

WAIT_SECONDS: Final = 600.0
_PATH: Final = "/callback"
_DONE: Final = b"You are logged in: go back to the terminal."
_REFUSED: Final = b"The provider refused: go back to the terminal."


class _Listener(HTTPServer):
    """Waits on loopback for one answer of the provider."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.timeout = WAIT_SECONDS
        self.answer: dict[str, str] | None = None

    @property
    def redirect_uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{_PATH}"

    def handle_timeout(self) -> None:
        raise WrongUse("nobody logged in at the provider's page in time")


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    # A connection that says nothing holds up nobody for long.
    timeout = 5.0

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path != _PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        answer = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.server.answer = answer
        page = _DONE if "code" in answer else _REFUSED
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - theirs
        """Says nothing: the address holds the code."""


def log_in(context: typer.Context) -> staff_pb2.Session:
    """Returns the session of whom the provider names."""
    session = open_session(context, needs_key=False)
    with _Listener() as listener:
        request = staff_pb2.BeginOidcLoginRequest(redirect_uri=listener.redirect_uri)
        begun = session.ask_staff(lambda stub: stub.BeginOidcLogin, request)
        print(f"Open {begun.authorization_url}", file=sys.stderr, flush=True)
        webbrowser.open(begun.authorization_url)
        while listener.answer is None:
            listener.handle_request()
        answer = listener.answer
    if "code" not in answer:
        raise WrongUse(f"the provider refused: {answer.get('error', 'it says not why')[:100]}")
    finish = staff_pb2.FinishOidcLoginRequest(
        login_secret=begun.login_secret, state=answer.get("state", ""), code=answer["code"]
    )
    return session.ask_staff(lambda stub: stub.FinishOidcLogin, finish).session
