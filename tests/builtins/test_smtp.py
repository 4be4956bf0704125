"""Mail to a real SMTP server: in the clear, after STARTTLS and over TLS, with a login and without."""

from __future__ import annotations

import datetime as dt
import email
import ipaddress
import ssl
from collections.abc import Iterator
from email import policy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from headrace.builtins.notify.smtp import SmtpNotifier
from headrace.errors import ConfigError, ServingError

controller = pytest.importorskip("aiosmtpd.controller", reason="aiosmtpd is in the dependency group `test`")

NOTICE = {
    "id": "tide/7/promoted",
    "event": "promoted",
    "project": "tide",
    "model": "tide",
    "version": 2,
    "at": 1_767_225_600.0,
    "time": "2026-01-01T00:00:00Z",
    "subject": "tide: version 2 is champion",
    "text": "version 2 in place of 1",
    "who": "headrace loop",
    "seq": 7,
    "evidence": {"version": 2},
}


class Inbox:
    """Keeps what it is sent, and refuses whom it is told to."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.tls: list[bool] = []
        self.refuse = ""
        self.answer = "250 taken"

    async def handle_RCPT(  # noqa: N802  # aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address == self.refuse:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's
        self.mails.append((envelope, email.message_from_bytes(envelope.content, policy=policy.default)))
        self.tls.append(session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None)
        return self.answer

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> Any:
        from aiosmtpd.smtp import AuthResult

        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cret", handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(certificate)
    return made


@pytest.fixture(params=["none", "starttls", "tls"])
def post(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[Inbox, dict[str, Any]]]:
    inbox, security = Inbox(), request.param
    login: dict[str, Any] = {"authenticator": inbox.authenticate, "auth_require_tls": security == "starttls"}
    # Port 0 is no option here: the controller connects to the port that it was given.
    port = free_port()
    if security == "tls":
        server = controller.Controller(
            inbox, hostname="127.0.0.1", port=port, ssl_context=context(certificate), **login
        )
    elif security == "starttls":
        login |= {"tls_context": context(certificate), "require_starttls": True}
        server = controller.Controller(inbox, hostname="127.0.0.1", port=port, **login)
    else:
        server = controller.Controller(inbox, hostname="127.0.0.1", port=port, **login)
    server.start()
    yield inbox, {"host": "127.0.0.1", "port": port, "security": security, "ca": str(certificate), **PEOPLE}
    server.stop()


PEOPLE = {"sender": "loop@example.org", "to": ["ann@example.org", "bob@example.org"]}


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def mailer(folder: Path, config: dict[str, Any]) -> SmtpNotifier:
    return SmtpNotifier(SmtpNotifier.Config.model_validate(config, context={"folder": folder}))


def test_a_mail_arrives_with_a_login_from_a_file(post: tuple[Inbox, dict[str, Any]], tmp_path: Path) -> None:
    inbox, config = post
    (tmp_path / "password").write_text("s3cret\n")
    found = mailer(tmp_path, {**config, "user": "loop", "password": "file:password"})
    assert found.send(NOTICE) is None
    assert found.send(NOTICE) is None
    (envelope, mail), (_, again) = inbox.mails
    assert envelope.mail_from == "loop@example.org"
    assert envelope.rcpt_tos == ["ann@example.org", "bob@example.org"]
    assert mail["Subject"] == "tide: version 2 is champion"
    assert mail["Message-ID"] == again["Message-ID"]
    assert mail["Date"].datetime == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    text = mail.get_content()
    assert "version 2 in place of 1" in text
    assert "id: tide/7/promoted" in text
    assert '"version": 2' in text
    assert inbox.logins == [(b"loop", b"s3cret")] * 2
    assert inbox.tls == [config["security"] != "none"] * 2


def test_a_wrong_password_is_an_error_that_does_not_show_it(
    post: tuple[Inbox, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, config = post
    found = mailer(tmp_path, {**config, "user": "loop", "password": "env:MAIL_PASSWORD"})
    with pytest.raises(ConfigError, match="MAIL_PASSWORD is not set"):
        found.send(NOTICE)
    monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
    with pytest.raises(ServingError, match="535") as raised:
        found.send(NOTICE)
    assert "hunter2" not in str(raised.value)
    assert inbox.mails == []


def test_who_is_refused_is_said(post: tuple[Inbox, dict[str, Any]], tmp_path: Path) -> None:
    inbox, config = post
    inbox.refuse = "bob@example.org"
    found = mailer(tmp_path, config)
    assert found.send(NOTICE) == "the mail server refuses bob@example.org: 550 no such mailbox"
    assert len(inbox.mails) == 1
    with pytest.raises(ServingError, match="refuses every address: 550"):
        mailer(tmp_path, {**config, "to": "bob@example.org"}).send(NOTICE)
    inbox.answer = "452 full"
    with pytest.raises(ServingError, match="answered 452: full"):
        found.send(NOTICE)


@pytest.mark.parametrize("post", ["starttls", "tls"], indirect=True)
def test_a_certificate_that_nobody_vouches_for_is_refused(post: tuple[Inbox, dict[str, Any]], tmp_path: Path) -> None:
    inbox, config = post
    with pytest.raises(ServingError, match="CERTIFICATE_VERIFY_FAILED"):
        mailer(tmp_path, {**config, "ca": None}).send(NOTICE)
    assert inbox.mails == []


@pytest.mark.parametrize("post", ["none"], indirect=True)
def test_a_server_without_starttls_is_refused(post: tuple[Inbox, dict[str, Any]], tmp_path: Path) -> None:
    inbox, config = post
    with pytest.raises(ServingError, match="STARTTLS"):
        mailer(tmp_path, {**config, "security": "starttls"}).send(NOTICE)
    assert inbox.mails == []


@pytest.mark.parametrize("post", ["none"], indirect=True)
def test_a_subject_stays_one_header(post: tuple[Inbox, dict[str, Any]], tmp_path: Path) -> None:
    inbox, config = post
    mailer(tmp_path, config).send({**NOTICE, "subject": "a\r\nBcc: eve@example.org", "text": "ünï\r\n.\r\nRCPT"})
    (envelope, mail) = inbox.mails[0]
    assert mail["Bcc"] is None
    assert mail["Subject"] == "a Bcc: eve@example.org"
    assert "ünï" in mail.get_content()
    assert envelope.rcpt_tos == PEOPLE["to"]


def test_nobody_there(tmp_path: Path) -> None:
    config = {"host": "127.0.0.1", "port": 1, "security": "none", **PEOPLE}
    with pytest.raises(ServingError, match="cannot be reached"):
        mailer(tmp_path, config).send(NOTICE)


@pytest.mark.parametrize(
    "config",
    [
        {"password": "hunter2", "user": "me"},
        {"password": "env:X"},
        {"user": "me"},
        {"user": "me", "password": "env:X", "security": "none"},
        {"to": []},
        {"to": "a@b\r\nBcc: eve@example.org"},
        {"sender": "nobody"},
        {"port": 0},
        {"security": "ssl3"},
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        mailer(tmp_path, {"host": "mail.example.org", **PEOPLE, **config})
    assert "hunter2" not in str(raised.value)
