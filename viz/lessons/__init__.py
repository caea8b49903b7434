"""Lessons: text that drives the real pages, one TOML file a lesson, one folder a language."""
