"""Hydra plugin: makes `+rest=...` and `+platform=...` work in any Hydra application, such as verl's own main.

setup.py installs this package in Hydra's plugin namespace; Hydra imports it when it composes a config.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin

from rest_verl.config.rest import defaults


class RestSearchPath(SearchPathPlugin):
    """Adds the presets and their base, the defaults of the `rest` node."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="rest_verl", path="pkg://rest_verl.hydra_configs")
        ConfigStore.instance().store(name="rest_defaults", node=defaults(), provider="rest_verl")
