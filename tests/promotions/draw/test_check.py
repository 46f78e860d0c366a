"""`live check-draw`: a saved proof, checked without any server."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from live.cli import app
from tests.promotions.draw.test_rules import SEED, TICKETS, commitment, proof


def test_a_saved_proof_is_checked_and_a_changed_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"

    def check(text: str, *more: str) -> tuple[int, str]:
        file.write_text(text, encoding="utf-8")
        found = CliRunner().invoke(app, ["check-draw", str(file), *more])
        return found.exit_code, found.output.strip()

    sound = json.dumps(proof())
    assert check(sound, "--commitment", commitment(SEED)) == (0, "it holds: seed and tickets give these winners")
    assert check(sound, "--commitment", "0" * 64) == (1, "another commitment than the one that was published")
    assert check(json.dumps(proof(tickets=TICKETS[1:]))) == (1, "these are not the winners that seed and tickets give")
    assert check("not json") == (1, "not JSON")
