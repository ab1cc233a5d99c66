"""The layers of docs/architecture.md are those of the code."""

from __future__ import annotations

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from tests.docs.generate import ROOT


def test_packages_import_only_what_is_below_them() -> None:
    """The contract of import-linter in pyproject.toml is kept."""
    config = str(ROOT / "pyproject.toml")
    assert lint_imports(config_filename=config, no_cache=True) == EXIT_STATUS_SUCCESS
