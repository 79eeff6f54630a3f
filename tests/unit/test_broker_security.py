"""What the embedded Kafka is told about TLS, logins and rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from riverlens.broker.home import ClusterHome
from riverlens.broker.run import BrokerSettings
from riverlens.broker.security import BrokerSecurity
from riverlens.errors import SettingsError, SetupError
from riverlens.settings import load

SECRET = "hunter2-of-the-lobby"  # noqa: S105  # a made-up one, looked for in every output
STORE, AUTHORITY = Path("/k.pem"), Path("/ca.pem")


@pytest.mark.parametrize(
    ("given", "listeners"),
    [
        ({}, ()),
        ({"keystore": STORE}, ("SSL",)),
        ({"keystore": STORE, "client_ca": AUTHORITY}, ("SSL",)),
        ({"users": {"a": "b"}}, ("SASL_PLAINTEXT",)),
        ({"keystore": STORE, "users": {"a": "b"}}, ("SASL_SSL",)),
        ({"keystore": STORE, "client_ca": AUTHORITY, "users": {"a": "b"}}, ("SASL_SSL", "SSL")),
    ],
)
def test_listeners_follow_from_what_is_given(given: dict[str, Any], listeners: tuple[str, ...]) -> None:
    """Beside logins, TLS alone must not let anybody in without a certificate."""
    assert BrokerSecurity(**given).listeners == listeners


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"acls": True}, "acls need users or client_ca"),
        ({"acls": True, "keystore": STORE}, "acls need users or client_ca"),
        ({"client_ca": AUTHORITY}, "client_ca needs a keystore"),
        ({"users": {"a b": SECRET}}, "users: 'a b'"),
        ({"users": {"a": f'{SECRET}"; evil'}}, "password of 'a' is empty or holds a quote"),
        ({"users": {"a": ""}}, "password of 'a' is empty"),
    ],
)
def test_what_cannot_hold_is_refused_without_a_password(given: dict[str, Any], told: str) -> None:
    """Rights for nobody in particular, and names that would change the meaning of Kafka's file."""
    with pytest.raises(ValueError, match=told) as error:
        BrokerSecurity(**given)
    assert SECRET not in str(error.value)


def test_only_the_login_file_holds_a_password() -> None:
    """Neither the text of the object nor Kafka's command line has one; equal input gives equal proofs."""
    security = BrokerSecurity(keystore=STORE, users={"worker": SECRET}, acls=True, super_users=("admin",))
    assert SECRET not in repr(security)
    proofs = security.scram_credentials(b"salt")
    assert SECRET not in "".join(proofs)
    assert proofs == security.scram_credentials(b"salt") != security.scram_credentials(b"pepper")
    made = security.properties()
    assert f'user_worker="{SECRET}"' in made["listener.name.sasl_ssl.plain.sasl.jaas.config"]
    assert made["super.users"] == "User:ANONYMOUS;User:admin"


def test_the_commands_settings_show_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    """`--users`, and `--print-config` with them; a wrong rule names the settings."""
    flags = [f"--users=worker={SECRET}", "--acls"]
    settings = load(BrokerSettings, flags, prog="broker")
    assert settings.security().users == {"worker": SECRET}
    with pytest.raises(SystemExit):
        load(BrokerSettings, [*flags, "--print-config"], prog="broker")
    assert SECRET not in capsys.readouterr().out + repr(settings)
    with pytest.raises(SettingsError, match="client_ca needs a keystore") as error:
        load(BrokerSettings, [*flags, "--client-ca=x.pem"], prog="broker")
    assert SECRET not in str(error.value)
    with pytest.raises(SettingsError, match="users: 'a b'") as error:
        load(BrokerSettings, [f"--users=a b={SECRET}"], prog="broker")
    assert SECRET not in str(error.value)


def test_other_users_for_kept_data_are_refused(tmp_path: Path) -> None:
    """Kafka writes them into its storage once: later ones would not be let in, and nothing would say why."""
    home = ClusterHome(1, tmp_path)
    home.keep_users(["a"])
    home.keep_users(["b"])  # nothing is formatted yet
    (home.node(1) / "data").mkdir()
    (home.node(1) / "data" / "meta.properties").touch()
    home.keep_users(["b"])
    with pytest.raises(SetupError, match="other users or passwords"):
        home.keep_users(["a"])
    home.close()
