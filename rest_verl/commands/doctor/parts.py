"""Check that verl, Ray, vLLM and the transfer queue have the parts that this package uses (`plugin.contract`)."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from rest_verl.commands.doctor.findings import Finding, Level
from rest_verl.plugin.contract import CONTRACT, Part
from rest_verl.plugin.contract_check import Sources, check_contract

GROUP = "versions"
_MOST = 12  # that are shown


def check_parts(verl: Path | None = None, contract: Sequence[Part] = CONTRACT) -> Iterator[Finding]:
    """One finding on the parts of all packages that are installed.

    Args:
        verl: a folder with another `verl/` in it, such as an unpacked wheel, to look at instead of the installed one.
        contract: what is expected.
    """
    sources = Sources([*([verl] if verl else []), _installed_verl(), Path(sysconfig.get_path("purelib"))])
    present = [part for part in contract if sources.has_package(part.package)]
    packages = ", ".join(dict.fromkeys(part.package for part in present))
    missing = check_contract(sources, present)
    where = f" (verl of {verl})" if verl else ""
    if not missing:
        yield Finding(GROUP, "parts in use", f"{len(present)} of {len(present)} in {packages}{where}")
        return
    more = f"; and {len(missing) - _MOST} more" if len(missing) > _MOST else ""
    yield Finding(
        GROUP,
        "parts in use",
        f"{len(missing)} of {len(present)} are not as rest-verl needs them{where}: {'; '.join(missing[:_MOST])}{more}",
        Level.FAILURE,
        "install a verl in the supported range (above), or use a release of rest-verl that knows this one",
    )


def _installed_verl() -> Path:
    """Where verl is: an editable install is not in site-packages. Nothing is imported for it."""
    found = find_spec("verl")
    return Path(found.origin).parents[1] if found is not None and found.origin else Path()
