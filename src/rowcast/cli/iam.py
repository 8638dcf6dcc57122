"""iam: tokens, and who may do what on this installation's server."""

from __future__ import annotations

import getpass
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from rowcast.cli import AsJson, Home, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.access.policy import Policy
    from rowcast.access.tokens import Tokens
    from rowcast.core.token import Token
    from rowcast.settings import Settings

Member = Annotated[
    str,
    typer.Argument(
        help="user:NAME, serviceAccount:NAME, group:NAME or allAuthenticatedUsers.",
        metavar="MEMBER",
    ),
]
Role = Annotated[str, typer.Argument(help="As `rowcast iam roles` lists them.", metavar="ROLE")]
Place = Annotated[
    str,
    typer.Argument(
        help="projects/PROJECT[/locations/LOCATION], gs://BUCKET[/FOLDER], bq://PROJECT[.DATASET], "
        "file:///FOLDER, or '*'; with everything below it.",
        metavar="PLACE",
    ),
]
TokenId = Annotated[str, typer.Argument(help="As `rowcast iam tokens` lists it.", metavar="ID")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    iam = typer.Typer(
        no_args_is_help=True,
        help="Let others use this installation's server: their tokens, and what they may do.\n\n"
        "The commands work on the home folder, on the server's machine and as its user; a running "
        "server sees every change at once.",
        rich_markup_mode="rich",
    )
    for name, command in (
        ("token", token),
        ("tokens", tokens),
        ("rotate", rotate),
        ("end", end),
        ("grant", grant),
        ("revoke", revoke),
        ("policy", policy),
        ("roles", roles),
        ("check", check),
    ):
        iam.command(name)(command)
    app.add_typer(iam, name="iam")


def token(
    member: Annotated[str, typer.Argument(help="user:NAME or serviceAccount:NAME.")],
    days: Annotated[int, typer.Option(help="Days until it expires; 0 for never.", min=0)] = 90,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: Home = None,
) -> None:
    """Make a token for a member, and print it: this is the only time that it is shown.

    It is sent as `Authorization: Bearer TOKEN` or `x-goog-api-key: TOKEN`, and
    opens nothing until the member has a role.

    For example:

    rowcast iam token user:ann@example.com --days 30 --label laptop
    """
    with _installation(home) as (settings, kept):
        made, secret = kept.create(member, days=days or None, label=label)
        _audit(settings, "iam.token", made.member, token=made.id)
    typer.echo(secret)
    ends = f"{made.expires:%Y-%m-%d}" if made.expires else "never"
    show.err.print(f"Token {made.id} of {member}; expires: {ends}.", highlight=False)


def tokens(
    member: Annotated[
        str | None, typer.Option("--member", help="Only this member's.", show_default=False)
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the tokens that were made, newest first; none is shown itself.

    For example:

    rowcast iam tokens --member serviceAccount:nightly
    """
    from rich.table import Table

    now = datetime.now(UTC)
    with _installation(home) as (_, kept):
        found = kept.list(member)
    if as_json:
        typer.echo(json.dumps([_described(item, now) for item in found]))
        return
    table = Table("id", "member", "label", "state", "made", "expires", "last used")
    table.columns[0].no_wrap, table.columns[0].min_width = True, 12
    for item in found:
        dates = (
            f"{moment:%Y-%m-%d}" if moment else "never"
            for moment in (item.created, item.expires, item.used)
        )
        table.add_row(item.id, escape(item.member), escape(item.label), item.state(now), *dates)
    show.out.print(table)


def rotate(
    token_id: TokenId,
    overlap_hours: Annotated[
        float, typer.Option(help="Hours that the old one stays valid.", min=0)
    ] = 24.0,
    home: Home = None,
) -> None:
    """Make a token in the place of another, which ends a day later, and print it.

    For example:

    rowcast iam rotate 3f9a61c0d2e4 --overlap-hours 1
    """
    with _installation(home) as (settings, kept):
        made, secret = kept.rotate(token_id, overlap_hours=overlap_hours)
        _audit(settings, "iam.rotate", made.member, token=made.id, replaced=token_id)
    typer.echo(secret)
    show.err.print(f"Token {made.id} of {made.member} replaces {token_id}.", highlight=False)


def end(token_id: TokenId, home: Home = None) -> None:
    """Revoke a token: from now on it opens nothing.

    For example:

    rowcast iam end 3f9a61c0d2e4
    """
    with _installation(home) as (settings, kept):
        ended = kept.revoke(token_id)
        _audit(settings, "iam.end", ended.member, token=token_id)
    show.out.print(f"Token {token_id} of {escape(ended.member)} is revoked.", highlight=False)


def grant(role: Role, member: Member, place: Place, home: Home = None) -> None:
    """Give a member a role on a project, a location, a bucket, a folder, a dataset.

    For example:

    rowcast iam grant roles/aiplatform.user user:ann@example.com projects/local

    rowcast iam grant roles/storage.objectViewer user:ann@example.com gs://shop/in
    """
    from rowcast.access.policy import PolicyFile

    settings = _settings(home)
    with PolicyFile(settings.policy_file).changing() as held:
        held.append(held[-1].granted(role, member, place))
    _audit(settings, "iam.grant", member, role=role, place=place)
    show.out.print(f"{escape(member)} has {role} on {escape(place)}.", highlight=False)


def revoke(role: Role, member: Member, place: Place, home: Home = None) -> None:
    """Take a role from a member again.

    For example:

    rowcast iam revoke roles/aiplatform.user user:ann@example.com projects/local
    """
    from rowcast.access.policy import PolicyFile

    settings = _settings(home)
    with PolicyFile(settings.policy_file).changing() as held:
        held.append(held[-1].revoked(role, member, place))
    _audit(settings, "iam.revoke", member, role=role, place=place)
    show.out.print(f"{escape(member)} no longer has {role} on {escape(place)}.", highlight=False)


def policy(home: Home = None, as_json: AsJson = False) -> None:
    """Show who has which role, on what. The file may also be edited, or come from elsewhere.

    For example:

    rowcast iam policy --json
    """
    from rich.table import Table

    settings = _settings(home)
    found = _policy(settings)
    if as_json:
        typer.echo(found.render().decode().rstrip("\n"))
        return
    table = Table("place", "role", "members")
    for binding in sorted(found.bindings, key=lambda b: (b.resource, b.role)):
        members = escape(", ".join(binding.members))
        table.add_row(escape(binding.resource), binding.role, members)
    show.out.print(table)
    show.out.print(f"[dim]{escape(str(settings.policy_file))}[/]", soft_wrap=True)


def roles() -> None:
    """List the roles, and what they are for.

    For example:

    rowcast iam roles
    """
    from rich.table import Table

    from rowcast.access.roles import ROLES

    table = Table("role", "to")
    for name, (purpose, _) in ROLES.items():
        table.add_row(name, purpose)
    show.out.print(table)


def check(
    member: Member,
    permission: Annotated[
        str, typer.Argument(help="Such as aiplatform.batchPredictionJobs.create.")
    ],
    place: Place,
    home: Home = None,
) -> None:
    """Say whether a member has a permission on a place: exit code 0 if so, else 1.

    Groups that an issuer puts users in are known when they show its token, not here.

    For example:

    rowcast iam check user:ann@example.com storage.objects.get gs://shop/in/a.csv
    """
    from rowcast.access.places import check_place
    from rowcast.core.caller import Caller, check_member

    caller = Caller(check_member(member))
    allowed = _policy(_settings(home)).permits(caller, permission, check_place(place))
    show.out.print("allowed" if allowed else "denied", highlight=False)
    if not allowed:
        raise typer.Exit(1)


def _settings(home: Any) -> Settings:
    from rowcast.settings import load_settings

    return load_settings(home=home)


def _policy(settings: Settings) -> Policy:
    from rowcast.access.policy import Policy, read_policy

    return read_policy(settings.policy_file) if settings.policy_file.exists() else Policy()


@contextmanager
def _installation(home: Any) -> Iterator[tuple[Settings, Tokens]]:
    """Open the settings and tokens of a home folder, while they are needed."""
    from rowcast.access.tokens import Tokens
    from rowcast.bootstrap import open_store
    from rowcast.stores.sql_tokens import SqlTokens

    settings = _settings(home)
    store = open_store(settings)
    try:
        yield settings, Tokens(SqlTokens(store))
    finally:
        store.close()


def _described(token: Token, now: datetime) -> dict[str, Any]:
    return {
        "id": token.id,
        "member": token.member,
        "label": token.label,
        "state": token.state(now),
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "lastUsed": token.used.isoformat() if token.used else None,
    }


def _audit(settings: Settings, method: str, about: str, **facts: str) -> None:
    """Write down a change that was made on the command line."""
    from rowcast.server.audit import AuditLog

    AuditLog(settings.audit_file).write(
        member="owner", method=method, about=about, user=getpass.getuser(), **facts
    )
