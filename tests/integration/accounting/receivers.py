"""Places that get events: a webhook receiver that does as it is told, and a mail server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def is_signed_by(self, secret: str) -> bool:
        """Whether a receiver with this secret accepts it: the specification's words, anew."""
        key = base64.b64decode(secret.split("_", 1)[1])
        stamp = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}."
        digest = hmac.new(key, stamp.encode() + self.body, hashlib.sha256).digest()
        wanted = "v1," + base64.b64encode(digest).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass(slots=True)
class Receiver:
    """An HTTP server on a port of its own."""

    host: str = "127.0.0.1"
    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    # Set: it takes requests and never answers.
    hangs: bool = False
    posts: list[Post] = field(default_factory=list)
    # Grows with each request, answered or not.
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _hanging: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook/s3cret"

    async def wait_for(self, count: int) -> list[Post]:
        """Returns when so many requests have arrived."""
        async with asyncio.timeout(60), self.arrived:
            await self.arrived.wait_for(lambda: len(self.posts) >= count)
        return self.posts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        async with self.arrived:
            self.posts.append(Post(path=head[0].split()[1], headers=headers, body=body))
            self.arrived.notify_all()
        if self.hangs:
            self._hanging.append(writer)
            return
        lines = [f"HTTP/1.1 {self.status} X", "content-length: 0", "connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        writer.close()

    def close(self) -> None:
        for writer in self._hanging:
            writer.close()


@asynccontextmanager
async def receiving(host: str = "127.0.0.1", *, port: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver(host=host)
    server = await asyncio.start_server(receiver.serve, host, port)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.close()
        server.close()
        await server.wait_closed()


# Without slots: the library reads every attribute, and Python 3.11.2 fails to read those of slots.
@dataclass
class Mailbox:
    """A real mail server that keeps what it gets."""

    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where `apprise` sends mail to it."""
        return (
            f"mailto://127.0.0.1:{self.port}"
            "?from=headgate@example.com&to=ops@example.com&mode=insecure"
        )

    async def handle_DATA(  # noqa: N802 - the library's name
        self, server: object, session: object, envelope: Envelope
    ) -> str:
        self.mails.append(envelope)
        self.arrived.set()
        return "250 taken"


@asynccontextmanager
async def mailing() -> AsyncIterator[Mailbox]:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="mail.example.com"), "127.0.0.1", 0
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()
