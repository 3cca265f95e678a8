"""``fusionkit doctor``: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import click

from fusionkit.cli.notes import answer
from fusionkit.errors import PluginError

_MARKS = {"ok": "ok", "absent": "--", "wrong": "!!"}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Look at the installation: versions, devices, extras, plugins, models, folders.

    Each line says what was found ("ok"), what is optional and not there ("--") or what is wrong ("!!"), and below it
    what to do. Nothing is changed, and nothing is asked for elsewhere. Exit with 3 if anything is wrong. Add the output
    to the report of a fault.
    """
    import json

    from fusionkit.cli.installation import examine

    facts = examine()
    wrong = [fact for fact in facts if fact.state == "wrong"]
    if as_json:
        click.echo(json.dumps([fact.as_dict() for fact in facts], indent=2))
    else:
        part = ""
        for fact in facts:
            if fact.part != part:
                answer(f"{'' if not part else chr(10)}{fact.part}")
                part = fact.part
            answer(f"  {_MARKS[fact.state]}  {fact.name}: {fact.found}")
            if fact.remedy:
                answer(f"      {fact.remedy}")
    if wrong:
        raise PluginError(f"{len(wrong)} things are wrong: {', '.join(fact.name for fact in wrong)}")
