"""`notifier: webhook`: a notice as JSON, posted to a URL."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from headrace import errors
from headrace.builtins.notify.secrets import SecretReference, is_reference, read, reference

if TYPE_CHECKING:
    import urllib.request

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_OURS = frozenset({"content-type", "content-length", "host", "headrace-id", "headrace-signature"})


def _url(text: str, info: ValidationInfo) -> str:
    return reference(text, info) if is_reference(text) else checked(text)


def checked(text: str) -> str:
    """A URL that a notice may go to. `ValueError` without the URL, which may hold a secret."""
    if not text.isascii() or any(letter <= " " or letter == "\x7f" for letter in text):
        raise ValueError("a URL has only printable ASCII letters and no spaces")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write a URL that begins with https:// or http://, or env:NAME or file:PATH")
    if "@" in parts.netloc:
        raise ValueError("a name and password do not belong into a URL; put them into `headers`, as env:NAME")
    return text


def _headers(found: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    for name, value in found.items():
        if _TOKEN.fullmatch(name) is None or name.lower() in _OURS:
            raise ValueError("a header has a name that it cannot have, or one that is set already")
        if not _sendable(value):
            raise ValueError("a header has more than one line, or letters that are not printable ASCII")
    return {name: reference(value, info) if is_reference(value) else value for name, value in found.items()}


def _sendable(value: str) -> bool:
    return value.isascii() and value.isprintable()


class WebhookNotifier:
    """Posts a notice as a JSON object, as Slack and those like it take it: `text` says all in words.

    Besides: `id`, `event`, `project`, `model`, `version`, `at`, `time`, `subject`, `who`, `seq`, `evidence`. In `text`,
    `&`, `<` and `>` are escaped as Slack wants it. The header `headrace-id` is the same when a notice is sent again.
    With `secret`, `headrace-signature` is `sha256=` and the HMAC-SHA256 of the body in hexadecimal digits. Any status
    of 200 to 299 says that it was taken; redirections are not followed.
    """

    class Config(BaseModel):
        """Settings of `notifier:webhook`."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        url: Annotated[str, AfterValidator(_url)] = Field(
            description="Where to: https://..., or env:NAME or file:PATH where the URL itself is a secret."
        )
        secret: SecretReference | None = Field(
            default=None, description="The key of the signature: env:NAME or file:PATH. Default: not signed."
        )
        headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
            default_factory=dict, description="More headers; a value may be env:NAME or file:PATH."
        )
        timeout: float = Field(default=10.0, gt=0, description="Seconds; the key `timeout` of the notifier.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def send(self, notice: Mapping[str, Any]) -> None:
        """Post it. `ConfigError` for a secret that is not there, `ServingError` for an answer that says no."""
        import http.client
        import urllib.error
        import urllib.request

        config = self.config
        text = f"*{notice['subject']}*\n{notice['text']}" if notice["text"] else notice["subject"]
        body = json.dumps({**notice, "text": escaped(text)}, allow_nan=False).encode()
        headers = {"content-type": "application/json", "headrace-id": str(notice["id"]), "user-agent": "headrace"}
        headers |= {name: _value(name, value) for name, value in config.headers.items()}
        if config.secret is not None:
            digest = hmac.new(read(config.secret).encode(), body, hashlib.sha256).hexdigest()
            headers["headrace-signature"] = f"sha256={digest}"
        request = urllib.request.Request(self._url(), body, headers, method="POST")  # noqa: S310  # `checked` looked
        try:
            with _opener().open(request, timeout=config.timeout):
                return
        except urllib.error.HTTPError as error:
            with error:
                said = f"the webhook answered {error.code}"
        except urllib.error.URLError as error:
            said = f"the webhook cannot be reached: {error.reason}"
        except http.client.HTTPException as error:
            said = f"the webhook does not answer in HTTP: {type(error).__name__}"
        except OSError as error:
            said = f"the webhook cannot be reached: {error}"
        raise errors.ServingError(said)

    def _url(self) -> str:
        if not is_reference(self.config.url):
            return self.config.url
        try:
            return checked(read(self.config.url))
        except ValueError as error:
            raise errors.ConfigError(f"what `url` refers to is no URL: {error}") from None


def _value(name: str, value: str) -> str:
    """What a header says. `ConfigError` without the value, where what it refers to can stand in no header."""
    if not is_reference(value):
        return value
    found = read(value)
    if not _sendable(found):
        raise errors.ConfigError(f"what the header {name!r} refers to is not one line of printable ASCII")
    return found


def escaped(text: str) -> str:
    """Text that Slack shows as it is: without links, and nobody called by name."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _opener() -> urllib.request.OpenerDirector:
    """Without redirections: a notice goes where the file says, and nowhere else."""
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_args: Any, **_more: Any) -> None:
            return None

    return urllib.request.build_opener(Stay)
