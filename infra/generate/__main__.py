"""`python -m infra.generate`: writes the reference pages and the Terraform module's files."""

from __future__ import annotations

from pathlib import Path

from infra.generate import terraform
from infra.generate.reference import pages

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    """Write everything that is generated from the code and the template."""
    terraform.write()
    for name, text in pages().items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
