"""What one can do with a project folder: where the rooms below are put together."""

from __future__ import annotations

from headrace.project.project import STORE_FOLDER, Project, Run

__all__ = ["STORE_FOLDER", "Project", "Run"]
