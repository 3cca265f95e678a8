"""``fusionkit metrics``: list and explain metrics."""

from __future__ import annotations

import click

from fusionkit.cli.notes import answer


@click.command("metrics")
@click.argument("name", required=False)
@click.option("-p", "--profile", help="List only the metrics of this profile, with its settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, profile: str | None, as_json: bool) -> None:
    """List fusion metrics and profiles, or explain the metric NAME and its convention under every profile."""
    import json

    from fusionkit.metrics.profiles import PROFILES, find_profile
    from fusionkit.metrics.score_report import aligned, explain, facts, overview

    if profile is not None:
        find_profile(profile)
    if name is not None:
        click.echo(json.dumps(facts(name), indent=2) if as_json else explain(name))
        return
    head, rows = overview(profile)
    if as_json:
        click.echo(json.dumps([facts(row[0]) for row in rows if row[2]], indent=2))
        return
    answer(aligned(head, rows))
    if profile is None:
        click.echo("\nprofiles")
        for p in PROFILES.values():
            answer(f"  {p.name:9}  {p.title}")
