"""Questions to a W&B server, asked once and not for long. The client's own are repeated until they are answered."""

import base64
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from typing import Any

from dwray.errors import UserError, one_line

ASK_SECONDS = 10.0
"""The longest that a server may take to answer a question."""


class PublishError(UserError):
    """The server did not take something; the message says why."""


def ask_server(base_url: str, key: str, entity: str) -> str:
    """Ask a server who we are, before anything is sent; returns whose project it is to be.

    Args:
        base_url: The server's.
        key: The user's.
        entity: Whose project the user wants; "" for the key's owner's.

    Raises:
        PublishError: It does not answer in time, or not with a yes.
    """
    viewer = ask(base_url, key, "query Viewer { viewer { id entity username } }").get("viewer")
    if not viewer:
        raise PublishError(f"{base_url} does not know the key; set WANDB_API_KEY")
    return entity or str(viewer.get("entity") or viewer.get("username") or "")


def ask(base_url: str, key: str, query: str, **variables: Any) -> dict[str, Any]:
    """What a server answers to a GraphQL query, or after a mutation.

    Args:
        base_url: The server's.
        key: The user's.
        query: With its variables.
        variables: Their values.

    Raises:
        PublishError: It does not answer in time, or refuses.
    """
    credentials = base64.b64encode(f"api:{key}".encode()).decode()
    request = urllib.request.Request(
        f"{base_url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={
            **_extra_headers(),
            "Content-Type": "application/json",
            "Authorization": f"Basic {credentials}",
        },
    )
    try:
        with _opener().open(request, timeout=ASK_SECONDS) as answer:
            said = json.load(answer)
        errors, data = said.get("errors"), said.get("data")
    except urllib.error.HTTPError as error:
        hint = ": the key is not valid there; set WANDB_API_KEY" if error.code in (401, 403) else ""
        raise PublishError(f"{base_url} answers {error.code} {error.reason}{hint}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or one_line(error)
        raise PublishError(f"{base_url} does not answer ({reason})") from error
    except (ValueError, AttributeError) as error:
        raise PublishError(f"{base_url} answers, but not as a W&B server does") from error
    if errors or not isinstance(data, dict):
        raise PublishError(f"{base_url} refuses: {json.dumps(errors)}")
    return data


def _opener() -> urllib.request.OpenerDirector:
    """Asks as W&B's client does: by the proxies that are W&B's own, and as strict with certificates."""
    own = {"http": os.environ.get("WANDB_HTTP_PROXY"), "https": os.environ.get("WANDB_HTTPS_PROXY")}
    proxies = urllib.request.getproxies() | {scheme: proxy for scheme, proxy in own.items() if proxy}
    context = ssl.create_default_context()
    if os.environ.get("WANDB_INSECURE_DISABLE_SSL", "").lower() in ("1", "true", "yes", "on"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )


def _extra_headers() -> dict[str, str]:
    """Those that the user gives to W&B's client, for a gate before a server."""
    name = "WANDB_X_EXTRA_HTTP_HEADERS"
    said = os.environ.get(name) or os.environ.get("WANDB__EXTRA_HTTP_HEADERS") or "{}"
    try:
        return {str(header): str(value) for header, value in json.loads(said).items()}
    except (ValueError, AttributeError) as error:
        raise PublishError(f"{name}: is no JSON object of headers") from error
