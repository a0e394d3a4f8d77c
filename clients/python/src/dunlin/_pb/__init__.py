"""Made by scripts/generate.py from the .proto files. Not part of the API."""
