"""The table of mutants (mutants.md) and the places in the sources that plant them (KVRM_MUTATE).

It reads and compares the two; it runs nothing (scripts/mutants does).
"""
import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "property_tests" / "mutations" / "mutants.md"
FOLDERS = ("harness", "kernels", "engines", "workloads", "reports", "property_tests")
MACRO_HEADER = "harness/base/mutation.h"
SITE = re.compile(r"KVRM_MUTATE\(\s*([a-z0-9_]+)\s*,")
ROW = re.compile(r"^\| `(?P<name>[a-z0-9_]+)` \| `(?P<file>[^`]+)` \| (?P<breaks>[^|]+) \| (?P<killer>[^|]+) \|$")
TEST = re.compile(r"^`(?P<program>[a-z0-9_]+)` `(?P<filter>[^`]+)`$")
EQUIVALENT = re.compile(r"^equivalent: (?P<reason>.+)$")


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    breaks: str
    area: str
    program: str = ""
    filter: str = ""
    reason: str = ""  # why it is equivalent; no test then


def read_table(text):
    """All mutants of a table, in its order. A row that is not one is an error."""
    mutants, area = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            area = line[3:]
        if not line.startswith("| `"):
            continue
        row = ROW.match(line)
        killer = row and (TEST.match(row["killer"]) or EQUIVALENT.match(row["killer"]))
        if not killer:
            raise ValueError(f"mutants.md:{number}: not a row of a mutant: {line}")
        mutants.append(Mutant(row["name"], row["file"], row["breaks"], area, **killer.groupdict()))
    return mutants


def planted(root):
    """Where each name is planted: {name: [file, ...]}, one entry a use."""
    sites = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = str(path.relative_to(root))
            if path.suffix not in {".h", ".cc", ".cu"} or name == MACRO_HEADER:
                continue
            for match in SITE.finditer(path.read_text(errors="replace")):
                sites.setdefault(match[1], []).append(name)
    return sites


def compare(mutants, sites):
    """One line for each way in which table and sources differ."""
    findings, seen = [], set()
    for mutant in mutants:
        if mutant.name in seen:
            findings.append(f"{mutant.name} stands twice in the table")
        seen.add(mutant.name)
        places = sites.get(mutant.name, [])
        if not places:
            findings.append(f"{mutant.name} is in the table and nowhere in the sources")
        elif places != [mutant.file]:
            findings.append(f"{mutant.name} is planted in {', '.join(places)}, the table says {mutant.file}")
    findings += [f"{name} is planted in {places[0]} and not in the table"
                 for name, places in sites.items() if name not in seen]
    return findings


def traces(program, names):
    """What of the mutants is in a built program: their switch, or any of their names."""
    content = pathlib.Path(program).read_bytes()
    words = ["KVRM_MUTANT", "chosen_mutant", "mutation.cc", *names]
    return [word for word in words if word.encode() in content]
