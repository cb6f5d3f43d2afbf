"""Channels that receive notices: mail, webhooks and other services of apprise."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blobwatch.errors import BlobwatchError

if TYPE_CHECKING:
    from apprise import NotifyBase

TIMEOUT = 20.0  # seconds for one attempt


@dataclass(frozen=True)
class Channel:
    """A channel that receives notices.

    Attributes
    ----------
    key : str
        Hash of the address. The ledger stores only this, since the address may contain a password.
    label : str
        Redacted address: kind and host.
    service : NotifyBase
        The service of apprise that sends.
    """

    key: str
    label: str
    service: "NotifyBase"

    def send(self, title: str, body: str, picture: Path | None) -> str:
        """Send a message; return the error, empty on success."""
        from apprise import Apprise

        messages: list[str] = []
        sender = Apprise()
        sender.add(self.service)
        is_sent = sender.notify(
            title=title,
            body=body,
            body_format="text",
            attach=str(picture) if picture else None,
            timeout=TIMEOUT,
            log_callback=lambda entry, _: messages.append(str(entry.message)),
        )
        return "" if is_sent else (messages[-1] if messages else "the channel refused the message")


def open_channels(addresses: list[str]) -> list[Channel]:
    """Return the channels at addresses of apprise, without duplicates.

    Raises
    ------
    BlobwatchError
        If an address is invalid. The message contains only its kind, since the rest may be secret.
    """
    if not addresses:
        return []
    from apprise import Apprise

    channels: dict[str, Channel] = {}
    for number, address in enumerate(addresses, start=1):
        service = Apprise.instantiate(address, suppress_exceptions=True)
        if service is None:
            kind, mark, _ = address.partition("://")
            known = f" ({kind})" if mark and kind.isalnum() else ""
            raise BlobwatchError(
                f"channel {number}{known}: not an address of apprise. Pass one like "
                "mailto://user:password@host or json://host/path"
            )
        key, label = hashlib.sha256(address.encode()).hexdigest(), redact_address(service.url(privacy=True))
        if label.startswith("mailto"):
            service.request_rate_per_sec = 0  # a mail server needs no pause between messages
        channels[key] = Channel(key, label, service)
    return list(channels.values())


def redact_address(address: str) -> str:
    """Return kind and host of an address; hide a host that may be a secret topic."""
    kind, _, rest = address.partition("://")
    host = re.split("[/?]", rest)[0].rpartition("@")[2]
    return f"{kind}://{host if '.' in host or host.startswith('localhost') else '…'}"
