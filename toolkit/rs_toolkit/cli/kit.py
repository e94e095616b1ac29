"""``rs-toolkit kit``: show, compare, unpack, verify and sign kits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rs_runtime.kit.kit import open_kit
from rs_runtime.kit.signature import find_public_key, generate_key, write_signature
from rs_toolkit.folders import kit as kits

__all__ = ["app"]

app = typer.Typer(help="Show, compare, unpack, verify and sign kits.", no_args_is_help=True)

KitFile = Annotated[Path, typer.Argument(help="A .rskit or .rskit.xz file.")]


@app.command()
def inspect(kit: KitFile) -> None:
    """Print what a kit holds and what was measured, as JSON.

    Exit codes: 0 printed, 2 wrong usage or kit.
    """
    with open_kit(kit) as opened:
        print(json.dumps(kits.describe(opened), indent=2))


@app.command()
def verify(
    kit: KitFile,
    public_key: Annotated[
        Path | None,
        typer.Option(
            help="Public key to check the signature with; without one it is not checked.",
            metavar="FILE",
            show_default="$RS_PUBLIC_KEY",
        ),
    ] = None,
) -> None:
    """Check every byte of a kit.

    Checks the format, sizes and hashes, and the signature if a key is given.

    Exit codes: 0 sound, 2 wrong usage or kit.
    """
    key = find_public_key(public_key)
    with open_kit(kit, key) as opened:
        signature = f"signed by the owner of {key}" if key else "signature not checked"
        schema = opened.manifest.schema
        print(f"{kit}: sound, {len(opened.members)} members, schema {schema}, {signature}")


@app.command()
def diff(kit: KitFile, other: KitFile) -> None:
    """Print the differences between two kits.

    Exit codes: 0 no difference, 1 the kits differ, 2 wrong usage or kit.
    """
    with open_kit(kit) as one, open_kit(other) as two:
        lines = kits.differences(one, two)
    if lines:
        print("\n".join(lines))
        raise typer.Exit(1)


@app.command()
def extract(
    kit: KitFile, folder: Annotated[Path, typer.Argument(help="Folder to write the files into.")]
) -> None:
    """Write a kit's models and model card into a folder.

    Exit codes: 0 written, 2 wrong usage or kit.
    """
    for path in kits.extract(kit, folder):
        print(path)


@app.command()
def keygen(
    key: Annotated[Path, typer.Argument(help="Private key to make; KEY.pub is its public key.")],
) -> None:
    """Make an ed25519 key pair to sign kits with.

    Keep KEY secret, and give KEY.pub to those who verify kits.

    Exit codes: 0 made, 2 wrong usage, or a file of that name exists.
    """
    for path in generate_key(key):
        print(path)


@app.command()
def sign(
    kit: KitFile,
    key: Annotated[Path, typer.Option(help="Private key from kit keygen.", metavar="FILE")],
) -> None:
    """Sign a kit.

    Verifies the kit first, then writes the signature beside it as NAME.rskit.sig.

    Exit codes: 0 signed, 2 wrong usage, kit or key.
    """
    with open_kit(kit) as opened:
        print(write_signature(kit, opened.manifest_digest(), key))
