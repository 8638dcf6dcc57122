"""Every knob of rowcast, read once: defaults < file < environment < flags.

The file is ``rowcast.toml`` in the home folder, or the one that ``ROWCAST_CONFIG`` names; the
environment variable of ``part_bytes`` is ``ROWCAST_PART_BYTES``. Nothing else reads the
environment: values are handed down from here.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rowcast.errors import InvalidRequest, Violation

MIB = 1 << 20
GIB = 1 << 30


def default_home() -> Path:
    """Where models, buckets and the job database live unless told otherwise."""
    return Path.home() / ".rowcast"


def machine_bytes() -> int:
    """The memory of this machine; 0 where that cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def _listed(value: object) -> object:
    """Read a list from a variable: JSON, or items with commas between them."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in value.split(",") if item.strip()]


_List = (NoDecode, BeforeValidator(_listed))


class Settings(BaseSettings):
    """The settings of one rowcast installation."""

    model_config = SettingsConfigDict(
        env_prefix="ROWCAST_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    home: Path = Field(default_factory=default_home, description="Models, buckets, job database.")
    store: SecretStr | None = Field(
        None,
        description="Database of jobs and models: postgresql://USER:PASSWORD@HOST/NAME; default a "
        "file in the home folder.",
    )
    project: str = Field("local", description="Project id in resource names.")
    location: str = Field("us-central1", description="Region in resource names.")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    token: SecretStr | None = Field(
        None, description="Bearer token; made at first start and kept in HOME/token if not given."
    )
    allowed_hosts: Annotated[tuple[str, ...], *_List] = Field(
        (), description="Further Host header values to accept, beside the bound address."
    )
    max_request_bytes: int = Field(4 * MIB, description="Largest request body.")
    requests_per_second: float = Field(
        100, ge=0, description="Requests that a caller may send; 0 is no limit."
    )
    policy: Path | None = Field(
        None, description="File that says who may do what; default HOME/policy.json."
    )
    oidc_issuer: str | None = Field(
        None, description="Issuer of signed tokens that are believed, as in their iss."
    )
    oidc_audience: str | None = Field(None, description="What must be in the aud of these tokens.")
    oidc_keys: str | None = Field(
        None, description="URL or file of the issuer's JWKS; default: where the issuer says."
    )
    oidc_member_claim: str = Field("email", description="Claim that names the user.")
    oidc_groups_claim: str = Field("groups", description="Claim that lists the user's groups.")
    grpc_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the gRPC door; 0 picks one, none has no door."
    )
    tls: bool = Field(False, description="Serve HTTPS, and gRPC over TLS, instead of plaintext.")
    tls_certificate: Path | None = Field(
        None, description="PEM file to show clients; made and kept in HOME/tls if not given."
    )
    tls_key: Path | None = Field(None, description="PEM file of that certificate's private key.")

    models: Path | None = Field(
        None, description="Folder of models; default HOME/models. Servers with one store share it."
    )
    buckets: Path | None = Field(
        None, description="Folder that holds a folder per gs:// bucket; default HOME/buckets."
    )
    s3_buckets: Path | None = Field(
        None, description="Folder that holds a folder per s3:// bucket; default HOME/s3-buckets."
    )
    remote_buckets: Annotated[tuple[str, ...], *_List] = Field(
        (),
        description="Buckets in object stores: s3://NAME, gs://NAME, az://NAME, or s3://* for all.",
    )
    object_store_retry_s: float = Field(
        120, ge=0, description="A request that an object store fails is repeated for so long."
    )
    warehouse: Path | None = Field(
        None, description="Folder of the tables behind bq://; default HOME/warehouse."
    )
    warehouse_memory_bytes: int = Field(
        2 * GIB, ge=64 * MIB, description="Memory of the warehouse; beyond it, it uses the disk."
    )
    query_timeout_s: float = Field(
        600, gt=0, description="A SQL statement that takes longer is stopped."
    )
    local_roots: Annotated[tuple[Path, ...], *_List] = Field(
        (),
        description="Folders beneath which plain paths and file:// URIs may be read and written.",
    )

    max_replicas: int = Field(
        default_factory=lambda: max(4, 2 * (os.cpu_count() or 1)),
        ge=1,
        description="Replica processes on this machine, over all jobs.",
    )
    warm_replicas: int = Field(1, ge=0, description="Replicas kept ready while there is no work.")
    replica_idle_s: float = Field(60, description="A replica above warm_replicas ends after this.")
    replica_memory_bytes: int = Field(
        8 * GIB, description="Address space of one replica; a part that needs more fails its job."
    )
    part_timeout_s: float = Field(600, description="A replica that needs longer is replaced.")
    part_attempts: int = Field(3, ge=1, description="Replicas a part may end; then its job fails.")
    max_running_jobs: int = Field(4, ge=1, description="Jobs that run side by side; others queue.")
    lease_s: float = Field(10, gt=0, description="A job whose owner is silent this long is free.")

    max_running_trainings: int = Field(
        1, ge=1, description="Training pipelines that run side by side; others queue."
    )
    training_attempts: int = Field(
        3, ge=1, description="Times a pipeline is begun if servers end while it trains."
    )
    training_memory_bytes: int = Field(
        default_factory=lambda: max(8 * GIB, machine_bytes()),
        description="Address space of a training process; 0 is no limit.",
    )
    node_hour_s: float = Field(
        3600, gt=0, description="Seconds of training that a node hour of a pipeline's budget buys."
    )

    part_bytes: int = Field(4 * MIB, ge=1, description="Input bytes a replica takes at a time.")
    batch_rows: int = Field(8192, ge=1, description="Rows scored together without a batchSize.")
    output_object_bytes: int = Field(
        1 * GIB,
        ge=1,
        description="A new object starts after this many bytes of output.",
    )

    drift: bool = Field(
        True, description="Compare each job's input with the training data of its model."
    )

    max_header_bytes: int = Field(4 * MIB, description="Longest CSV header.")
    max_columns: int = Field(20_000, description="Most columns of an input.")
    max_row_bytes: int = Field(16 * MIB, description="Longest record.")
    max_cell_bytes: int = Field(8 * MIB, description="Longest field.")
    max_object_bytes: int = Field(10 * GIB, description="Largest input object, uncompressed.")
    max_total_bytes: int = Field(100 * GIB, description="Largest input of one job, uncompressed.")
    max_expansion: int = Field(200, description="Highest ratio of uncompressed to compressed size.")

    kernel_cache: Path | None = Field(
        None, description="Compiled kernels; default rowcast/kernels in the user's cache folder."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least important log events to write."
    )

    @property
    def bucket_folder(self) -> Path:
        """The folder behind ``gs://``."""
        return self.buckets or self.home / "buckets"

    @property
    def s3_bucket_folder(self) -> Path:
        """The folder behind ``s3://``."""
        return self.s3_buckets or self.home / "s3-buckets"

    @property
    def policy_file(self) -> Path:
        """Where the policy is."""
        return self.policy or self.home / "policy.json"

    @property
    def audit_file(self) -> Path:
        """Where changes and refusals are written down."""
        return self.home / "audit.jsonl"

    @property
    def tls_folder(self) -> Path:
        """Where the certificates are that were made here."""
        return self.home / "tls"

    @property
    def warehouse_folder(self) -> Path:
        """The folder of the tables behind ``bq://``."""
        return self.warehouse or self.home / "warehouse"

    @property
    def staging_folder(self) -> Path:
        """Where models are while they are trained: beside the finished ones."""
        return self.model_folder / ".training"

    @property
    def model_folder(self) -> Path:
        """Where trained models are kept."""
        return self.models or self.home / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the file below the environment, and the environment below the flags."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, settings_file(init_settings().get("home"))),
        )


def settings_file(home: str | Path | None = None) -> Path:
    """Where the settings file would be."""
    given = home or os.environ.get("ROWCAST_HOME") or default_home()
    named = os.environ.get("ROWCAST_CONFIG")
    return Path(named or Path(given) / "rowcast.toml").expanduser()


def load_settings(**flags: Any) -> Settings:
    """Read the settings; a flag that is None was not given.

    Raises
    ------
    InvalidRequest
        Naming each setting that the flags, the environment or the file get wrong, and where it
        was set.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    file = settings_file(given.get("home"))
    if os.environ.get("ROWCAST_CONFIG") and not file.is_file():
        raise InvalidRequest(f"There is no settings file {file}, which ROWCAST_CONFIG names.")
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise InvalidRequest.listing(
            [_violation(item["loc"], item["msg"], given, file) for item in error.errors()]
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} is not a TOML file: {error}.") from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def _violation(place: tuple[Any, ...], why: str, given: dict[str, Any], file: Path) -> Violation:
    """Say which setting is wrong and where it was set. Values may be secret: none is shown."""
    name = str(place[0])
    variable = f"ROWCAST_{name.upper()}"
    if name not in Settings.model_fields:
        return Violation(name, f"is not a setting; it is in {file}")
    by_file = variable if os.environ.get(variable) else f"in {file}"
    where = "given" if name in given else by_file
    return Violation(f"setting {name} ({where})", why[:1].lower() + why[1:])
