"""Options that the commands fuse, align and score share: further sources, matching, alignment."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = [
    "align_scope_option",
    "aligner_option",
    "match_option",
    "more_sources_option",
    "reference_option",
    "resize_option",
]

more_sources_option = click.option(
    "-s", "more", type=click.Path(path_type=Path), multiple=True, help="Further source; may be repeated."
)
reference_option = click.option(
    "--reference",
    default="b",
    show_default=True,
    help="Source that stays when aligning, whose grid a fused volume has, or that a method with an option reference "
    "takes what moves from: a, b, or a number from 1.",
)
align_scope_option = click.option(
    "--align-scope",
    type=click.Choice(["pair", "folder"]),
    default="pair",
    show_default=True,
    help="Find a transform for each scene, or one for all scenes of a rig.",
)
aligner_option = click.option(
    "--aligner",
    default="",
    metavar="NAME",
    help="Aligner: 'fusionkit plugins list' lists them.  [default: the one of the task, by edges]",
)
resize_option = click.option(
    "--resize", is_flag=True, help="Resize aligned sources to the size of the reference; nothing is searched."
)
match_option = click.option(
    "--match",
    default="stem",
    show_default=True,
    help="Match files of folders by stem, number (IR_0001, VIS_0001), order, or pattern:{name}_suffix.",
)
