"""List the licence of every installed package that Mulgil needs at run time: `python scripts/licences.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_COPYLEFT = re.compile(r"\b(?:[AL]?GPL|MPL|EPL|CDDL|EUPL)|Mozilla|General Public", re.IGNORECASE)


def needed(name: str = "mulgil") -> dict[str, Distribution]:
    """Return what `name` needs, directly or not, extras left out; what this platform does not need is not there."""
    found: dict[str, Distribution] = {}
    open_ = [name]
    while open_:
        each = normal(open_.pop())
        try:
            found.setdefault(each, distribution(each))
        except PackageNotFoundError:
            continue
        open_ += [dependency for dependency in required(found[each]) if normal(dependency) not in found]
    del found[normal(name)]
    return found


def required(package: Distribution) -> Iterator[str]:
    """Yield the names of a package's own dependencies, extras left out."""
    for line in package.requires or ():
        match = _NAME.match(line)
        if match and not re.search(r";.*\bextra\b", line):
            yield match[0]


def licence(package: Distribution) -> str:
    """Return what a package's metadata says of its licence."""
    metadata = package.metadata
    classifiers = [each for each in metadata.get_all("Classifier", []) if each.startswith("License")]
    told = (metadata.get_all("License-Expression") or metadata.get_all("License") or [""])[0]
    return told.split("\n")[0] or ", ".join(each.rpartition(" :: ")[2] for each in classifiers) or "not told"


def copyleft(package: Distribution) -> bool:
    """Whether the licence asks those who pass the package on for its source."""
    return bool(_COPYLEFT.search(licence(package)))


def normal(name: str) -> str:
    """Return a package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print the list, copyleft first."""
    packages = needed()
    for name in sorted(packages, key=lambda each: (not copyleft(packages[each]), each)):
        print(f"{name:24} {packages[name].version:16} {licence(packages[name])}")


if __name__ == "__main__":
    main()
