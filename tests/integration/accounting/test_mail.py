"""Messages for people reach a real mail server, and nothing that the operator does not allow."""

from __future__ import annotations

import pytest

from services.accounting.delivery.channels import ChannelKind
from services.accounting.domain.event_types import Severity
from tests.integration.accounting.delivering import DELIVERED, WAITING, Office
from tests.integration.accounting.noticing import channel, condition
from tests.integration.accounting.receivers import Receiver, mailing, receiving


async def test_a_mail_server_gets_the_message(office: Office) -> None:
    async with mailing() as mailbox:
        await office.put(channel(kind=ChannelKind.APPRISE), mailbox.url)
        await office.tell(condition(org="acme", severity=Severity.CRITICAL))
        assert await office.deliver() == 1

        (mail,) = mailbox.mails
        content = mail.content.decode() if isinstance(mail.content, bytes) else str(mail.content)
        assert mail.rcpt_tos == ["ops@example.com"]
        assert "Subject: [critical] kill.lifted" in content
        for line in ("Calls pass again", "kill_id: platform", "org: acme", "alert: 1"):
            assert line in content
        assert await office.states() == [DELIVERED]


async def test_a_mail_server_that_is_not_there_is_tried_again(office: Office) -> None:
    async with mailing() as mailbox:
        url = mailbox.url
    await office.put(channel(kind=ChannelKind.APPRISE), url)
    await office.tell(condition())
    await office.deliver()

    (delivery,) = await office.deliveries()
    assert delivery["state"] == WAITING
    assert delivery["error"] == "the service did not take the message"


@pytest.mark.parametrize("url", ["json://127.0.0.2:{port}/", "mailto://127.0.0.2:{port}?{mail}"])
async def test_no_message_goes_where_only_our_servers_can_reach(office: Office, url: str) -> None:
    async with receiving("127.0.0.2") as inner:
        mail = "from=a@example.com&to=b@example.com&mode=insecure"
        await office.put(channel(kind=ChannelKind.APPRISE), url.format(port=inner.port, mail=mail))
        await office.tell(condition())
        await office.deliver()

        assert inner.posts == []
        (delivery,) = await office.deliveries()
        assert "not allowed by the operator" in delivery["error"]


async def test_no_redirect_leads_a_message_there(office: Office, receiver: Receiver) -> None:
    async with receiving("127.0.0.2") as inner:
        receiver.status, receiver.headers = 307, {"location": inner.url}
        url = f"json://127.0.0.1:{receiver.port}/"
        await office.put(channel(kind=ChannelKind.APPRISE), url)
        await office.tell(condition())
        await office.deliver()

        assert len(receiver.posts) == 1
        assert inner.posts == []
        assert await office.states() == [WAITING]
