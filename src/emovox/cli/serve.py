"""`emovox serve`: the HTTP and WebSocket service with its web page, and the keys for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emovox.cli import common

if TYPE_CHECKING:
    from emovox.server.keys import KeyRing

app = typer.Typer(invoke_without_command=True, help="Serve the web page and the HTTP and WebSocket interface.")
keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
app.add_typer(keys_app, name="keys")

KeysFile = Annotated[
    Path | None, typer.Option("--keys", metavar="FILE", help="File of API keys. (default: in your configuration)")
]


@app.callback()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback keys are needed.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE|NAME",
            help="Bundle to serve: its file, or a name of `emovox models list`; several, the first is the default.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each has its own models and limits.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the models in each process. (default: processors, at most 4)")
    ] = None,
    keys: KeysFile = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A reverse proxy brings others here: ask for keys on loopback too.")
    ] = False,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Let pages of another origin use the service, such as https://example.org."),
    ] = None,
    max_body_mb: Annotated[int, typer.Option(min=1, metavar="MB", help="Largest request body.")] = 64,
    max_duration: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Longest recording to predict.")] = 600,
    max_streams: Annotated[int, typer.Option(min=1, help="Live streams at a time, in each process.")] = 100,
    queue: Annotated[int, typer.Option(min=1, help="Recordings that may wait, in each process.")] = 64,
    tls_certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate (PEM), for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key (PEM).")] = None,
) -> None:
    """Serve the web page and the HTTP and WebSocket interface until Ctrl-C.

    On http://127.0.0.1:8000 by default, for this machine only. Audio is never stored and never logged.
    """
    if context.invoked_subcommand is not None:
        return
    from emovox.server.running import serve as run
    from emovox.server.settings import MEGABYTE, ServerSettings

    settings = ServerSettings(
        host=host,
        port=port,
        models=tuple(model or ()),
        keys_file=keys,
        require_keys=behind_proxy,
        origins=tuple(origin or ()),
        threads=threads,
        max_body_bytes=max_body_mb * MEGABYTE,
        max_upload_bytes=max(512, 2 * max_body_mb) * MEGABYTE,
        max_duration_s=max_duration,
        max_streams=max_streams,
        queue_length=queue,
    )
    run(
        settings,
        workers=workers,
        certificate=None if tls_certificate is None else str(tls_certificate),
        private_key=None if tls_key is None else str(tls_key),
    )


@keys_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="What to call it, such as the program or person who gets it.")],
    keys: KeysFile = None,
) -> None:
    """Make a key and print it; it is kept as a hash only and cannot be shown again."""
    ring = _ring(keys)
    typer.echo(ring.create(name))
    common.warn(f"Keep it: only its hash is in {ring.path}. Programs send it as: Authorization: Bearer KEY")


@keys_app.command("list")
def list_keys(keys: KeysFile = None) -> None:
    """List the names of all keys."""
    for record in _ring(keys).records:
        typer.echo(f"{record.name}\t{record.created}")


@keys_app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    keys: KeysFile = None,
) -> None:
    """Refuse a key from now on; a running service notices at once."""
    _ring(keys).revoke(name)


def _ring(path: Path | None) -> KeyRing:
    from emovox.server.keys import KeyRing
    from emovox.server.settings import default_keys_path

    return KeyRing(path or default_keys_path())
