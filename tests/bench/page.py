"""`docs/benchmarks.md`, written anew from what each part of `make bench` has found last, which is kept beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.servers import machine
from tests.bench.table import Found, Row

CHART = "benchmarks.svg"


@dataclass(frozen=True)
class Page:
    folder: Path

    def keep(self, part: str, found: Found, *, options: Sequence[str], load: float) -> None:
        kept_in = self.folder / "benchmarks.json"
        kept: dict[str, Any] = json.loads(kept_in.read_text()) if kept_in.exists() else {}
        kept.pop(part, None)
        kept[part] = {
            "machine": machine(),
            "options": " ".join(options),
            "load": round(load, 1),
            "rows": [asdict(row) for row in found.rows],
            "details": list(found.details),
        }
        kept_in.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        if found.chart:
            (self.folder / CHART).write_text(found.chart)
        (self.folder / "benchmarks.md").write_text(document(kept))


def document(kept: Mapping[str, Mapping[str, Any]]) -> str:
    machines = dict.fromkeys(found["machine"] for found in kept.values())
    rows = [str(Row(**row)) for found in kept.values() for row in found["rows"]]
    runs: dict[str, list[str]] = {}
    for part, found in kept.items():
        runs.setdefault(found["options"] or "no options", []).append(f"{part} {found['load']}")
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by `make bench`: the figures of a row are of one run, side by side, on one machine. Another has",
            "other figures, and much the same ratios.",
            "",
            *(f"{name}." for name in machines),
            "",
            "| what | Countersign | against | ratio | target |",
            "| --- | ---: | ---: | ---: | --- |",
            *rows,
            "",
            "The load of the machine at the end of each part, by options:",
            "",
            *(f"- {options}: {', '.join(parts)}" for options, parts in runs.items()),
            "",
            *(line for found in kept.values() if found["details"] for line in (*found["details"], "")),
        ]
    )
