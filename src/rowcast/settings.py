"""Every knob of rowcast, read once: defaults < file < environment < flags.

The file is ``rowcast.toml`` in the home folder, or the one that ``ROWCAST_CONFIG`` names; the
environment variable of ``part_bytes`` is ``ROWCAST_PART_BYTES``. Nothing else reads the
environment: values are handed down from here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

MIB = 1 << 20
GIB = 1 << 30


def default_home() -> Path:
    """Where models, buckets and the job database live unless told otherwise."""
    return Path.home() / ".rowcast"


class Settings(BaseSettings):
    """The settings of one rowcast installation."""

    model_config = SettingsConfigDict(env_prefix="ROWCAST_", frozen=True, extra="forbid")

    home: Path = Field(default_factory=default_home, description="Models, buckets, job database.")
    project: str = Field("local", description="Project id in resource names.")
    location: str = Field("us-central1", description="Region in resource names.")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    token: SecretStr | None = Field(
        None, description="Bearer token; made at first start and kept in HOME/token if not given."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further Host header values to accept, beside the bound address."
    )
    max_request_bytes: int = Field(4 * MIB, description="Largest request body.")

    buckets: Path | None = Field(
        None, description="Folder that holds a folder per gs:// bucket; default HOME/buckets."
    )
    s3_buckets: Path | None = Field(
        None, description="Folder that holds a folder per s3:// bucket; default HOME/s3-buckets."
    )
    local_roots: tuple[Path, ...] = Field(
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

    part_bytes: int = Field(4 * MIB, ge=1, description="Input bytes a replica takes at a time.")
    batch_rows: int = Field(8192, ge=1, description="Rows scored together without a batchSize.")
    output_object_bytes: int = Field(
        1 * GIB,
        ge=1,
        description="A new object starts after this many bytes of output.",
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
    log_level: str = Field("info", description="debug, info, warning or error.")

    @property
    def bucket_folder(self) -> Path:
        """The folder behind ``gs://``."""
        return self.buckets or self.home / "buckets"

    @property
    def s3_bucket_folder(self) -> Path:
        """The folder behind ``s3://``."""
        return self.s3_buckets or self.home / "s3-buckets"

    @property
    def model_folder(self) -> Path:
        """Where trained models are kept."""
        return self.home / "models"

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
        given = init_settings().get("home") or os.environ.get("ROWCAST_HOME")
        home = Path(given) if given else default_home()
        file = Path(os.environ.get("ROWCAST_CONFIG", home / "rowcast.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)


def load_settings(**flags: Any) -> Settings:
    """Read the settings; a flag that is None was not given.

    Raises
    ------
    pydantic.ValidationError
        If the file or the environment holds an unknown name or a bad value.
    """
    settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
