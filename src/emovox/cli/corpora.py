"""`emovox corpora`: what corpora there are, and what lies in a folder."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, recognise, download and check corpora.", no_args_is_help=True)
