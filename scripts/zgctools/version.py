"""The version. Every other place (CMakeLists.txt, pyproject.toml, the library) reads it here."""

VERSION = '0.2.0'
