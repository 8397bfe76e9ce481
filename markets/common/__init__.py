"""Shared by all packages: the error for wrong input, atomic file writing, file formats, HTML pages."""
