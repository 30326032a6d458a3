"""The settings of a preset without a run: what `+rest=NAME` gives, with no import of verl."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from rest_verl.common.suggest import unknown_name
from rest_verl.config.rest import RestConfig, load, preset_names
from rest_verl.weighting.schemes import get_scheme


def text_settings(preset: str, format: str, overrides: Sequence[str] = ()) -> RestConfig:
    """The settings with which texts are weighted.

    Args:
        preset: its name.
        format: wire format of the texts.
        overrides: Hydra overrides of the `rest` node, such as rest.weights.think.start=0.3.

    Raises:
        ValueError: the preset is unknown or weighs nothing, an override is wrong, or the scheme needs the policy's
            entropy.
    """
    if preset not in (names := preset_names()):
        raise ValueError(f"--preset: {unknown_name('preset', preset, names)}")
    try:
        with initialize_config_module("rest_verl.hydra_configs", version_base=None):
            config = compose(f"rest/{preset}", [f"rest.format={format}", *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        # what follows names the folders that were searched
        raise ValueError(f"--set: {str(error).partition('Config search path')[0]}") from None
    if config.algorithm.adv_estimator != "rest":
        raise ValueError(f"--preset {preset}: every token weighs 1 in it; name one that weighs tokens, such as paper")
    rest = load(config)
    if get_scheme(rest.scheme).measures_entropy:
        raise ValueError(
            f"--preset {preset}: rest.scheme={rest.scheme} weighs by the policy's entropy, which text alone does not "
            "have: take --preset paper, or inspect the records of a run (rest.dump_dir)"
        )
    return rest
