"""Whether an installed verl, or one in a folder, has what this package uses of it (`contract`).

Sources are read, not imported: verl takes seconds to import, and a version that is not installed cannot be. A name is
followed through the imports of its module to where it is defined.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from rest_verl.plugin.contract import CONTRACT, Part

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.stmt
_MOST_IMPORTS = 8  # that one name is followed through


class Sources:
    """The sources of packages below some folders, of which the first that has a module counts.

    Args:
        roots: folders that hold packages, such as site-packages or an unpacked wheel.
    """

    def __init__(self, roots: Sequence[Path]):
        self._roots = [*roots]
        self.text = lru_cache(maxsize=None)(self._text)
        self.tree = lru_cache(maxsize=None)(self._tree)

    def has_package(self, name: str) -> bool:
        """Whether a package is there at all."""
        return any((root / name / "__init__.py").exists() for root in self._roots)

    def path(self, module: str) -> Path | None:
        """The file of a module; None if there is none."""
        relative = Path(*module.split("."))
        for root in self._roots:
            if (root / relative.parts[0]).is_dir():
                found = [root / relative.with_suffix(".py"), root / relative / "__init__.py"]
                return next((path for path in found if path.is_file()), None)
        return None

    def _text(self, module: str) -> str | None:
        path = self.path(module)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def _tree(self, module: str) -> ast.Module | None:
        text = self.text(module)
        return None if text is None else ast.parse(text)

    def find(self, module: str, name: str, depth: int = 0) -> tuple[str, _Definition] | None:
        """Where a name of a module is defined: that module and the definition; a module counts as its own."""
        tree = self.tree(module)
        if tree is None or depth > _MOST_IMPORTS:
            return None
        imported, starred = None, []
        for statement in ast.walk(tree):
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if statement.name == name and statement in tree.body:
                    return module, statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if statement in tree.body and any(isinstance(one, ast.Name) and one.id == name for one in targets):
                    return module, statement
            elif isinstance(statement, ast.ImportFrom):
                for alias in statement.names:
                    if alias.name == "*":
                        starred.append(self._target(module, statement))
                    elif (alias.asname or alias.name) == name:
                        imported = self._target(module, statement), alias.name
        if imported is not None:
            return self.find(*imported, depth + 1) or self._submodule(".".join(imported))
        from_stars = (self.find(star, name, depth + 1) for star in starred)
        return next((found for found in from_stars if found), None) or self._submodule(f"{module}.{name}")

    def _submodule(self, module: str) -> tuple[str, _Definition] | None:
        tree = self.tree(module)
        return None if tree is None else (module, ast.Pass())

    def _target(self, module: str, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        path = self.path(module)
        is_package = path is not None and path.name == "__init__.py"
        parents = module.split(".")[: None if is_package and statement.level == 1 else -statement.level + is_package]
        return ".".join([*parents, *([statement.module] if statement.module else [])])

    def lineage(self, module: str, definition: ast.ClassDef, depth: int = 0) -> Iterator[ast.ClassDef]:
        """A class and its bases, as far as their sources are there."""
        yield definition
        for base in definition.bases:
            name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            found = self.find(module, name) if depth < _MOST_IMPORTS else None
            if found is not None and isinstance(found[1], ast.ClassDef):
                yield from self.lineage(found[0], found[1], depth + 1)


def check_contract(sources: Sources, contract: Sequence[Part] = CONTRACT) -> list[str]:
    """What is missing, a line each: the part, what it lacks, and where this package uses it."""
    return [
        f"{part.name}: {problem} (used in {part.used_in})" for part in contract for problem in _problems(sources, part)
    ]


def _problems(sources: Sources, part: Part) -> Iterator[str]:
    module, path = part.module, part.name.partition(":")[2]
    text = sources.text(module)
    if text is None:
        yield "there is no such module"
        return
    for field in part.fields:
        if field not in text:
            yield f"{field!r} occurs nowhere in it"
    if not path:
        return
    outer, _, method = path.partition(".")
    found = sources.find(module, outer)
    if found is None:
        yield "there is no such name"
        return
    home, definition = found
    if method:
        if not isinstance(definition, ast.ClassDef):
            yield "it is no class"
            return
        methods = (one for owner in sources.lineage(home, definition) for one in owner.body)
        definition = next((one for one in methods if getattr(one, "name", None) == method), ast.Pass())
        if isinstance(definition, ast.Pass):
            yield "there is no such method"
            return
    if part.parameters:
        yield from _missing_parameters(definition, part.parameters)
    if part.attributes and isinstance(definition, ast.ClassDef):
        owned = {name for owner in sources.lineage(home, definition) for name in _attributes(owner)}
        missing = [name for name in part.attributes if name not in owned]
        if missing:
            yield f"its instances have no {', '.join(missing)}"


def _missing_parameters(definition: _Definition, wanted: Sequence[str]) -> Iterator[str]:
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        yield "it is no function"
        return
    arguments = definition.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    missing = [name for name in wanted if name not in names]
    if missing and not (arguments.kwarg and arguments.vararg):
        yield f"it has no parameter {', '.join(missing)}, but {', '.join(names) or 'none'}"


def _attributes(owner: ast.ClassDef) -> Iterator[str]:
    """Names that a class defines, or sets on `self` in any method."""
    for statement in owner.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id
        elif isinstance(statement, ast.Assign):
            yield from (one.id for one in statement.targets if isinstance(one, ast.Name))
    for node in ast.walk(owner):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "instance" | "cls"), attr=name, ctx=ast.Store()):
                yield name
