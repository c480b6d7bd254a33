"""What `make up` can be told by environment variables, each checked before anything is started."""

import asyncio
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import psycopg

from devstack.servers import CannotStart

DATA_DIR = Path(".data")
BYTES_NEEDED = 300 * 1000 * 1000
SECONDS_TO_ANSWER = 5


@dataclass(frozen=True)
class Settings:
    """`database_url` and `temporal_address` name servers that run already; without them we start our own."""

    data_dir: Path
    port: int
    temporal_port: int
    temporal_ui_port: int
    demo: bool
    database_url: str | None
    temporal_address: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Raises CannotStart with the name of a setting that makes no sense."""
        return cls(
            data_dir=Path(environment.get("DATA_DIR") or DATA_DIR).resolve(),
            port=_port(environment, "PORT", 8000),
            temporal_port=_port(environment, "TEMPORAL_PORT", 7233),
            temporal_ui_port=_port(environment, "TEMPORAL_UI_PORT", 8233),
            demo=_yes_or_no(environment, "DEMO"),
            database_url=environment.get("DATABASE_URL") or None,
            temporal_address=environment.get("TEMPORAL_ADDRESS") or None,
        )

    @property
    def desk_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def temporal_ui_url(self) -> str:
        return f"http://127.0.0.1:{self.temporal_ui_port}"

    def check_ports(self) -> None:
        wanted = {"PORT": self.port}
        if self.temporal_address is None:
            wanted |= {"TEMPORAL_PORT": self.temporal_port, "TEMPORAL_UI_PORT": self.temporal_ui_port}
        for setting, port in wanted.items():
            check_port(setting, port)
        if len(set(wanted.values())) < len(wanted):
            raise CannotStart(f"{', '.join(wanted)} need a port each, and two of them name the same.")

    def check_given_servers(self) -> None:
        if self.database_url is not None:
            check_database(self.database_url)
        if self.temporal_address is not None:
            check_temporal(self.temporal_address)


def check_folder(folder: Path, bytes_needed: int = BYTES_NEEDED) -> None:
    """Make the folder for the data where it is missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except FileExistsError:
        raise CannotStart(f"{folder} is a file, not a folder: name a folder for the data with DATA_DIR=.") from None
    except OSError as problem:
        raise CannotStart(
            f"The data cannot be kept in {folder} ({problem.strerror}): name another folder with DATA_DIR=."
        ) from None
    if not os.access(folder, os.W_OK):
        raise CannotStart(f"The folder {folder} cannot be written to: name another with DATA_DIR=.")
    if free < bytes_needed:
        raise CannotStart(
            f"The disk of {folder} has {free / 1e6:.0f} MB free, and the desk needs {bytes_needed / 1e6:.0f} MB: "
            "make room, or name a folder on another disk with DATA_DIR=."
        )


def check_port(setting: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise CannotStart(f"Only root may use port {port}: name one above 1023 with {setting}=.") from None
        except OSError:
            raise CannotStart(
                f"Port {port} is taken{_by_whom(port)}: stop that, or name another port with {setting}=."
            ) from None


def check_database(url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as problem:
        reason = str(problem).strip().partition("\n")[0]
        raise CannotStart(f"The database that DATABASE_URL names cannot be reached: {reason}") from None


def check_temporal(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise CannotStart(f"TEMPORAL_ADDRESS must be a host and a port such as 127.0.0.1:7233, not {address}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as problem:
        raise CannotStart(f"Temporal cannot be reached at TEMPORAL_ADDRESS={address}: {problem}") from None
    try:
        asyncio.run(_ask_temporal(address))
    except (RuntimeError, ValueError, TimeoutError) as problem:
        reason = str(problem).partition("\n")[0][:200] or f"no answer within {SECONDS_TO_ANSWER} s"
        raise CannotStart(
            f"What listens at TEMPORAL_ADDRESS={address} does not answer as Temporal does: {reason}"
        ) from None


async def _ask_temporal(address: str) -> None:
    """Connect as the workers will, with the SDK's own variables; connecting asks what system it is."""
    from temporalio.client import Client
    from temporalio.envconfig import ClientConfig

    config = ClientConfig.load_client_connect_config()
    await asyncio.wait_for(Client.connect(**(config | {"target_host": address})), SECONDS_TO_ANSWER)


def _port(environment: Mapping[str, str], setting: str, default: int) -> int:
    given = environment.get(setting) or str(default)
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        raise CannotStart(f"{setting} must be a port from 1 to 65535, not {given}.")
    return int(given)


def _yes_or_no(environment: Mapping[str, str], setting: str) -> bool:
    given = environment.get(setting) or "1"
    if given not in {"0", "1"}:
        raise CannotStart(f"{setting} must be 1 or 0, not {given}.")
    return given == "1"


def _by_whom(port: int) -> str:
    """The process that holds the port, as far as the system lets us know."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""
