"""What a script runs in a process of its own to find which of our names verl's registries hold there."""

IMPORTS = "import verl\nfrom rest_verl.plugin.registries import REGISTRIES\n"
NAMES = "{kind: [name for name in held.names if name in held.entries()] for kind, held in REGISTRIES.items()}"
