"""`notifier: smtp`: a notice as mail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from headrace import errors
from headrace.builtins.notify.secrets import SecretReference, read

if TYPE_CHECKING:
    import smtplib

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_EVIDENCE = 20_000


def _address(text: str) -> str:
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or not text.isprintable() or any(c in text for c in " ,;<>\"'"):
        raise ValueError("write an address as name@example.org")
    return text


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _path(text: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder")
    return text if folder is None else str(folder / text)


Address = Annotated[str, AfterValidator(_address)]


class SmtpNotifier:
    """Sends a notice as mail, over TLS unless told otherwise.

    The header `Message-ID` is the same when a notice is sent again, so that most programs show it once.
    """

    class Config(BaseModel):
        """Settings of `notifier:smtp`."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        host: str = Field(min_length=1, description="The mail server.")
        port: int | None = Field(
            default=None, ge=1, le=65_535, description="Default: 587 for starttls, 465 for tls, 25 for none."
        )
        security: Literal["starttls", "tls", "none"] = Field(
            default="starttls",
            description='"starttls": a server that does not offer it is refused; "none": in the clear.',
        )
        sender: Address = Field(description="From whom.")
        to: Annotated[tuple[Address, ...], BeforeValidator(_listed)] = Field(
            min_length=1, description="To whom: an address or several."
        )
        user: str | None = Field(default=None, description="Default: no login.")
        password: SecretReference | None = Field(default=None, description="env:NAME or file:PATH.")
        ca: Annotated[str, AfterValidator(_path)] | None = Field(
            default=None, description="A file of certificates to trust, in place of the system's."
        )
        timeout: float = Field(default=10.0, gt=0, description="Seconds; the key `timeout` of the notifier.")

        @model_validator(mode="after")
        def _safe(self) -> SmtpNotifier.Config:
            if (self.user is None) != (self.password is None):
                raise ValueError("`user` and `password` go together: set both, or neither")
            if self.user is not None and self.security == "none" and self.host not in _LOCAL:
                raise ValueError('a password is not sent in the clear: set `security` to "starttls" or "tls"')
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def send(self, notice: Mapping[str, Any]) -> str | None:
        """Send it; says which addresses were refused, if others were not.

        `ConfigError` for a secret that is not there, `ServingError` where the server does not take it.
        """
        import smtplib

        try:
            with self._server() as server:
                refused = server.send_message(self._message(notice))
        except smtplib.SMTPRecipientsRefused as error:
            said = f"the mail server refuses every address: {_codes(error.recipients)}"
        except smtplib.SMTPResponseException as error:
            said = f"the mail server answered {error.smtp_code}: {_text(error.smtp_error)}"
        except smtplib.SMTPException as error:
            said = f"the mail server does not take it: {error}"
        except OSError as error:
            said = f"the mail server cannot be reached: {error}"
        else:
            return f"the mail server refuses {', '.join(sorted(refused))}: {_codes(refused)}" if refused else None
        raise errors.ServingError(said)

    def _server(self) -> smtplib.SMTP:
        import smtplib
        import ssl

        config = self.config
        port = config.port or _PORTS[config.security]
        if config.security == "none":
            server = smtplib.SMTP(config.host, port, timeout=config.timeout)
        else:
            context = ssl.create_default_context(cafile=config.ca)
            if config.security == "tls":
                server = smtplib.SMTP_SSL(config.host, port, timeout=config.timeout, context=context)
            else:
                server = smtplib.SMTP(config.host, port, timeout=config.timeout)
        try:
            if config.security == "starttls":
                server.starttls(context=context)
            if config.user is not None and config.password is not None:
                server.login(config.user, read(config.password))
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, notice: Mapping[str, Any]) -> Any:
        import hashlib
        from email.message import EmailMessage
        from email.utils import format_datetime

        mail = EmailMessage()
        mail["Subject"] = _line(notice["subject"])
        mail["From"] = self.config.sender
        mail["To"] = ", ".join(self.config.to)
        mail["Date"] = format_datetime(_moment(notice["at"]))
        name = hashlib.sha256(str(notice["id"]).encode()).hexdigest()[:32]
        mail["Message-ID"] = f"<{name}@{self.config.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        evidence = json.dumps(notice["evidence"], indent=2, allow_nan=False)[:_MOST_EVIDENCE]
        facts = "\n".join(
            f"{name}: {_line(notice[name])}"
            for name in ("project", "model", "version", "event", "time", "who", "id")
            if notice[name] is not None
        )
        mail.set_content(f"{notice['text']}\n\n{facts}\n\n{evidence}\n")
        return mail


def _moment(at: float) -> Any:
    import datetime as dt

    return dt.datetime.fromtimestamp(at, dt.UTC)


def _line(value: object) -> str:
    """On one line: a header has no others."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())[:300]


def _text(said: bytes | str) -> str:
    return _line(said.decode(errors="replace") if isinstance(said, bytes) else said)


def _codes(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return ", ".join(sorted({f"{code} {_text(said)}" for code, said in refused.values()}))
