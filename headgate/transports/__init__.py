"""HTTP clients that govern each request they send, for the `http_client=` of providers' SDKs.

    client = OpenAI(http_client=headgate.governed_client("chat"))

Each request of a governed endpoint is admitted, sent to the chosen candidate and reported; a
repetition by the provider's SDK is a call of its own. Denied calls reach no provider. What costs
nothing by itself, such as a list of models, passes.
"""

from __future__ import annotations

from headgate.transports.clients import governed_async_client, governed_client
from headgate.transports.providers import Provider
from headgate.transports.terms import governing

__all__ = ["Provider", "governed_async_client", "governed_client", "governing"]
