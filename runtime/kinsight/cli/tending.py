"""The verbs that look after kinsight itself: doctor finds what is wrong, demo shows the main job."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from kinsight.cli.desk import AS_JSON, Desk, pass_desk, progress
from kinsight.cli.show import clean_line, columns, print_json, say


@click.command(epilog="Examples: kinsight doctor --verify, kinsight doctor --concepts")
@click.option("--verify", is_flag=True, help="Hash every file of the bundle; big ones take their time.")
@click.option("--concepts", is_flag=True, help="Instead: how well each one you taught is told apart.")
@AS_JSON
@pass_desk
@click.pass_context
def doctor(context: click.Context, desk: Desk, verify: bool, concepts: bool) -> None:
    """Examine the installation, your data and the bundle; say what to mend and how."""
    if concepts:
        _examine_concepts(desk)
        return
    from kinsight.doctor import examine

    findings = examine(desk.home, desk.bundle, desk.device, verify)
    broken = any(finding.state == "broken" for finding in findings)
    if desk.as_json:
        print_json({"format": 1, "well": not broken, "findings": [asdict(finding) for finding in findings]})
        context.exit(1 if broken else 0)
    for line in columns([[finding.what, finding.words] for finding in findings]):
        say(line)
    mends = [f"{finding.what}: {finding.mend}" for finding in findings if finding.mend]
    say("\nTo mend:" if mends else "\nAll is well.")
    for mend in mends:
        say(f"  {mend}")
    context.exit(1 if broken else 0)


def _examine_concepts(desk: Desk) -> None:
    """A row for each concept: its views, how many the others tell, its look-alike; and what would help."""
    with desk.assistant() as assistant:
        from kinsight.advice import telling_json

        known = assistant.store.concepts()
        told = []
        for done, concept in enumerate(known):
            progress("concepts", done, len(known))
            told.append(assistant.telling(concept))
        progress("concepts", len(known), len(known))
    if desk.as_json:
        print_json({"format": 1, "concepts": [telling_json(one) for one in told]})
        return
    rows = [["concept", "views", "recognised", "nearest other"]]
    for one in told:
        other = f"{one.look_alike.name} {one.look_alike.similarity:.2f}" if one.look_alike else ""
        left = "" if one.recognised is None else f"{one.recognised} of {one.views}"
        rows.append([clean_line(one.concept), str(one.views), left, clean_line(other)])
    for line in columns(rows) if told else ["Nobody was taught yet."]:
        say(line)
    ill = [line for one in told if not one.well for line in one.lines()]
    for line in ("\nWhat would help:", *(f"  {clean_line(line)}" for line in ill)) if ill else ():
        say(line)


@click.command(
    epilog="Examples: kinsight demo, kinsight demo --seed 7 --out seven, kinsight demo --photos my-photos"
)
@click.option("--photos", type=click.Path(path_type=Path), help="A folder that holds a folder per identity.")
@click.option(
    "--seed", type=click.IntRange(0), help="Of the album that is drawn; each seed gives another one."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@pass_desk
def demo(desk: Desk, photos: Path | None, seed: int | None, out: Path) -> None:
    """Teach, look, ask and abstain in a throw-away home; writes pictures into --out.

    A bundle of the drawn world, such as the built-in one, draws its own album into --out/album. Every other
    one needs --photos.
    """
    from kinsight.assistant import Choices
    from kinsight.demo import SEED, Demo

    if photos and seed is not None:
        raise click.UsageError("--seed is of a drawn album, leave out --photos")
    chosen = SEED if seed is None else seed
    Demo(Choices(desk.home, desk.bundle, desk.device), say).run(photos, chosen, out)
