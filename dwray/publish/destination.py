"""Where a run is published, by the user's options and by W&B's own variables; and what becomes of the key."""

import ctypes
import netrc
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dwray.errors import UserError

CLOUD = "https://api.wandb.ai"
KEY = "WANDB_API_KEY"
MODE = "WANDB_MODE"
AUTO, ONLINE, OFFLINE, DISABLED = "auto", "online", "offline", "disabled"
MODES = {"": AUTO, "run": ONLINE, "dryrun": OFFLINE, **{mode: mode for mode in (ONLINE, OFFLINE, DISABLED)}}
"""What WANDB_MODE may say; two of them are the client's older names."""
CONNECTION = (
    *("WANDB_HTTP_PROXY", "WANDB_HTTPS_PROXY", "WANDB_INSECURE_DISABLE_SSL", "WANDB_APP_URL"),
    *("WANDB_X_EXTRA_HTTP_HEADERS", "WANDB__EXTRA_HTTP_HEADERS"),
)
"""W&B's variables that say how a server is reached; of the others the publisher is told what it needs, and no more."""


@dataclass(frozen=True)
class Destination:
    """Where a run is published; the key stays out of every text that is made of it."""

    entity: str = ""
    project: str = "dwray"
    base_url: str = CLOUD
    key: str | None = field(default=None, repr=False)


def take_key() -> str | None:
    """W&B's key out of the environment, where Ray and every trial would find it; None if it holds none."""
    key = os.environ.get(KEY)
    if key:
        # What is unset stays in the block that the process was started with, which /proc/PID/environ shows.
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_void_p
        if address := getenv(KEY.encode()):
            ctypes.memset(address, 0, len(os.fsencode(key)))
    os.environ.pop(KEY, None)
    return key or None


def destination(mode: str, *, entity: str | None, project: str | None, key: str | None) -> Destination | None:
    """Where a run is to be published, by the user's options and then by ``WANDB_*``; None if it says: nowhere.

    Args:
        mode: online, offline, or auto: as WANDB_MODE says, and without that online if there is a key.
        entity: Whose project; by default the key's owner.
        project: Its name.
        key: Of the environment, as :func:`take_key` took it; without one, that of ``~/.netrc``.

    Raises:
        UserError: It is to be online, and there is no key; or WANDB_MODE is none.
    """
    base_url = os.environ.get("WANDB_BASE_URL", CLOUD).rstrip("/")
    asked = f"--wandb {mode}"
    if mode == AUTO:
        mode = mode_of_environment()
        asked = f"{MODE}={mode}"
    if mode == DISABLED:
        return None
    key = None if mode == OFFLINE else key or _netrc_key(base_url)
    if mode == ONLINE and not key:
        raise UserError(f"{asked}: there is no key for {base_url}; set {KEY}, or say --wandb offline")
    return Destination(
        entity or os.environ.get("WANDB_ENTITY", ""), project or os.environ.get("WANDB_PROJECT", "dwray"), base_url, key
    )


def mode_of_environment() -> str:
    """What WANDB_MODE comes to.

    Raises:
        UserError: Nothing that is known here.
    """
    said = os.environ.get(MODE, "")
    if said not in MODES:
        raise UserError(f"{MODE}={said}: it is online, offline or disabled; set it to one of them, or unset it")
    return MODES[said]


def _netrc_key(base_url: str) -> str | None:
    """The key that ``wandb login`` left."""
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(base_url).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return found[2] if found else None
