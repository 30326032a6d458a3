"""Parsers that the wire formats share: tags, JSON calls, XML calls, Python calls."""
