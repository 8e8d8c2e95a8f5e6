"""Write docs/clients.md: what becomes of mail when real clients meet each fault of the test double.

    python tests/clients/clients_table.py              # plays all cases (`make clients`), some eight minutes
    python tests/clients/clients_table.py --draw       # writes the page again from the results of the last run

Two cases are played at a time. Results and transcripts are kept in build/clients/. If a client is missing, the page is
written there too, and docs/clients.md stays as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from clients_facts import EVERY, FACTS, Fact
from clients_faults import CASES, MAIL, Case
from clients_outcome import WORDS, Outcome, worst
from clients_pollers import CLIENTS, PATIENCE, Client
from clients_polling import LIMIT, play

from geventpop3.testing import Double

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "clients.md"
BUILD = ROOT / "build" / "clients"
RESULTS = BUILD / "results.json"
MISSING = "not here"
TIMES, IF_THEY_DIFFER = 2, 5
"""Number of runs of each case: some outcomes depend on the packets in which octets arrive."""


class Results(NamedTuple):
    """Outcomes by client and title of the case, versions by client, and the day."""

    date: str
    versions: Mapping[str, str]
    outcomes: Mapping[str, Mapping[str, Outcome]]


def measured() -> Results:
    """Play all cases with all clients that are here."""
    versions = {client.name: client.version() for client in CLIENTS}
    pairs = [(client, case) for client in CLIENTS if versions[client.name] for case in CASES]
    folder = BUILD / "transcripts"
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, dict[str, Outcome]] = {}
    with Double():
        pass  # two threads at once may make two authorities, and the files of one are removed
    with ThreadPoolExecutor(2) as pool:
        played = pool.map(lambda pair: several(*pair), pairs)
        for (client, case), plays in zip(pairs, played, strict=True):
            outcome = worst([one for one, _ in plays])
            transcript = next(transcript for one, transcript in plays if one.word == outcome.word)
            outcomes.setdefault(client.name, {})[case.title] = outcome
            name = f"{client.name}-{CASES.index(case):02}.txt"
            (folder / name).write_text(f"{client.name}, {case.title}: {outcome}\n\n{transcript}\n", "utf-8")
            print(f"{client.name:10} {case.title}: {outcome.word}", flush=True)
    found = {name: version for name, version in versions.items() if version}
    return Results(datetime.now(UTC).date().isoformat(), found, outcomes)


def several(client: Client, case: Case) -> list[tuple[Outcome, str]]:
    """Play a case twice, and three times more if the outcomes differ."""
    plays = [play(client, case) for _ in range(TIMES)]
    if len({outcome.word for outcome, _ in plays}) > 1:
        plays += [play(client, case) for _ in range(IF_THEY_DIFFER - TIMES)]
    return plays


def save(results: Results) -> None:
    """Keep *results* for ``load``."""
    RESULTS.write_text(json.dumps(results._asdict(), indent=1), "utf-8")


def load() -> Results:
    """Return the results of the last run."""
    kept = json.loads(RESULTS.read_text("utf-8"))
    outcomes = {
        client: {title: Outcome(word, tuple(notes)) for title, (word, notes) in of_client.items()}
        for client, of_client in kept["outcomes"].items()
    }
    return Results(kept["date"], kept["versions"], outcomes)


def page(results: Results, facts: Sequence[Fact] = FACTS) -> str:
    """Return the text of docs/clients.md."""
    notes: dict[str, int] = {}
    rows = [_row(["", "fault", *(client.name for client in CLIENTS)]), _row(["---"] * (len(CLIENTS) + 2))]
    before = ""
    for case in CASES:
        moment = f"`{case.moment}`" if case.moment.isupper() else case.moment
        cells = [_cell(results, client.name, case.title, notes) for client in CLIENTS]
        rows.append(_row(["" if moment == before else moment, case.what, *cells]))
        before = moment
    clients = [_row([client.name, results.versions.get(client.name, MISSING), client.about]) for client in CLIENTS]
    words = [_row([f"{word}" if word == "-" else f"**{word}**", meaning]) for word, meaning in WORDS.items()]
    numbered = [f"{number}. {note}" for note, number in notes.items()]
    return "\n".join(
        [
            INTRODUCTION.format(date=results.date, count=len(CASES)),
            *clients,
            SETTING.format(
                messages=len(MAIL), late=len(MAIL) + 1, patience=PATIENCE, limit=LIMIT, octets=f"{len(MAIL[-1]):,}"
            ),
            *words,
            TABLE,
            *rows,
            "",
            "Notes; the messages are counted from 1, and the last one arrives between the two polls:",
            "",
            *numbered,
            ADVICE,
            *_advice(results, facts),
            "",
        ]
    )


INTRODUCTION = """\
# What clients do

This page shows what becomes of mail when a client meets a fault: six clients play {count} cases with the
[test double](testing.md). `make clients` made it on {date}, with these versions:

| client | version | use |
|---|---|---|"""

SETTING = """
- The maildrop has {messages} messages: a plain one, one with dots at the beginning of lines, one of eight bits without
  a final line end, and one of {octets} octets. The second one has the faults of `RETR` and `DELE`.
- The client shall fetch all mail and delete it. It polls with the fault. Then message {late} arrives. It polls again
  without the fault, unless the case says otherwise.
- Its own timeout is {patience} seconds. A client that has not ended after {limit} seconds is killed.
- A minimal poller stores each message that has an unknown unique-id, notes the unique-id, and says `DELE`. It says
  `QUIT` at the end; an error ends it without `QUIT`. The pollers are in `tests/clients/pollers/`.
- fetchmail fetches by `TOP`, so the faults of `RETR` happen there.

## Outcomes

Each case is played twice, and five times if the outcomes differ. A cell of the table has the worst of these outcomes
that came twice:

| outcome | meaning |
|---|---|"""

TABLE = """
## Table
"""

ADVICE = """
## Findings

The cells above show each finding; `tests/clients/clients_facts.py` says which ones."""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(results: Results, client: str, title: str, notes: dict[str, int]) -> str:
    outcome = results.outcomes.get(client, {}).get(title)
    if outcome is None:
        return MISSING
    numbers = [str(notes.setdefault(note, len(notes) + 1)) for note in outcome.notes]
    word = (
        f"**{outcome.word}**" if outcome.word in ("lost", "damaged", "duplicated", "missed", "hung") else outcome.word
    )
    return f"{word} ({', '.join(numbers)})" if numbers else word


def _advice(results: Results, facts: Sequence[Fact]) -> list[str]:
    lines = []
    for name in [EVERY, *(client.name for client in CLIENTS)]:
        held = [fact.text for fact in facts if fact.client == name and holds(fact, results)]
        if name in results.outcomes:
            held.insert(0, _summary(results.outcomes[name].values()))
        if held:
            lines += ["", f"### {name}", "", *(f"- {text}" for text in held)]
    return lines


def _summary(outcomes: Iterable[Outcome]) -> str:
    """Return how often each outcome came, the worst first."""
    counted = Counter(outcome.word for outcome in outcomes)
    return f"Cases: {', '.join(f'{counted[word]} {word}' for word in WORDS if word in counted and word != '-')}."


def holds(fact: Fact, results: Results) -> bool:
    """Return whether the cells that show *fact* are as it says."""
    clients = [client.name for client in CLIENTS] if fact.client == EVERY else [fact.client]
    outcomes = [results.outcomes.get(client, {}) for client in clients]
    return all(title in each and each[title].word == word for each in outcomes for title, word in fact.shown_by)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="write the page from the results of the last run")
    options = parser.parse_args()
    if options.draw:
        results = load()
    else:
        results = measured()
        save(results)
    for fact in FACTS:
        if not holds(fact, results):
            print(f"{fact.client}: no longer shown, so left out: {fact.text}", file=sys.stderr)
    missing = [client.name for client in CLIENTS if client.name not in results.versions]
    path = BUILD / PAGE.name if missing else PAGE
    path.write_text(page(results), "utf-8")
    print(f"written: {path.relative_to(ROOT)}")
    if missing:
        sys.exit(f"not here: {', '.join(missing)}; docs/clients.md needs all of them")


if __name__ == "__main__":
    main()
