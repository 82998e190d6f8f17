"""The cohort card: what `cohort.json` says, as a page to read. It names no patient and no image."""

from collections import Counter
from typing import Any

from fedmammo.cohort.alike import sentences

CARD = "cohort.md"


def page(facts: dict[str, Any]) -> str:
    """The page (Markdown) of a cohort's facts; a joined cohort has `parts` instead of options and tables."""
    lines = [
        f"# Cohort from a {facts['source']}",
        "",
        f"{facts['images']} patches of {facts['patients']} patients, {facts['size']} x {facts['size']} pixels, 16 bit; "
        f"{facts['quarantined']} rows or files in quarantine.",
    ]
    if counts := facts.get("counts"):
        lines += ["", "| listed in | rows | prepared | quarantined |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {count['rows']} | {count['prepared']} | {count['quarantined']} |"
            for name, count in counts.items()
        ]
    if options := facts.get("options"):
        lines += ["", f"Margin around a lesion: {options['margin']:g} of its larger side."]
    lines += [f"\n{remark}" for remark in remarks(facts)]
    kinds = Counter(note.split(":")[0].split(" from ")[0] for note in facts["notes"].values())
    lines += [f"\n{count} images: {kind}." for kind, count in kinds.items()]
    for name in ("licence", "citation"):
        lines += ["", f"{name.capitalize()}: {facts.get(name) or 'not given'}"]
    if tables := facts.get("tables"):
        lines += [
            "",
            "| table | SHA-256 |",
            "|---|---|",
            *(f"| {name} | `{digest}` |" for name, digest in tables.items()),
        ]
    lines += ["", f"Digest of patches and manifest, under this cohort's key: `{facts['digest']}`", ""]
    return "\n".join(lines)


def remarks(facts: dict[str, Any], named: bool = False) -> list[str]:
    """What the user of a cohort should know of it, in sentences; `named`: patients too, for their hospital's eyes."""
    found = list(facts.get("remarks", []))
    crossing = facts.get("crossing", {"patients": 0})
    if crossing["patients"]:
        done = "moved to" if facts["options"]["strict"] else "are in quarantine, not in"
        patients, images = crossing["patients"], crossing["images"]
        found.append(f"{patients} patients were in several splits: {images} of their images {done} the last of these.")
    return found + sentences(facts.get("alike", {}), shown=3 if named else 0)
