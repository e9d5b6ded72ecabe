"""A YAML file as plain values, which remembers the line of every key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import yaml

from victor_nb.config.secret import masked
from victor_nb.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[int | str, ...]
_LARGEST: Final = 1_000_000  # bytes; a larger file is not one of settings


class Document:
    """The values of a YAML file, with the line of every key."""

    def __init__(self, path: Path, content: object, node: yaml.Node | None) -> None:
        self.path = path
        self.content = content
        self._node = node
        self._checked: set[int] = set()

    @classmethod
    def read(cls, path: Path, *, start: str = "profiles") -> Document:
        """Read one file, whose top must be a mapping; `start` is the key that it usually begins with.

        Raises:
            ConfigError: It cannot be read, is not YAML, is empty, or holds a key twice.
        """
        text = _text_of(path)
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            content: object = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            raise ConfigError(_explain_syntax(path, text, error)) from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
        document = cls(path, content, node)
        if content is None:
            raise ConfigError(f"{path} is empty. Start it with '{start}:'.")
        if not isinstance(content, dict):
            raise ConfigError(document.at((), f"expected a mapping that starts with '{start}:'"))
        document._check_keys(node, ())
        return document

    def at(self, place: Place, fact: str) -> str:
        """Return one line: file, line, key, fact, without what looks like a key."""
        keys = ".".join(str(part) for part in place if part != "[key]")
        line = self._line_of(place)
        where = f"{self.path.name}, line {line}" if line else self.path.name
        return masked(f"{where}: {keys}: {fact}" if keys else f"{where}: {fact}")

    def _check_keys(self, node: yaml.Node | None, place: Place) -> None:
        """Raise if a key occurs twice, or is one that is not text (`on:` and `yes:` are truth values in YAML)."""
        if id(node) in self._checked:
            return  # an anchor, which may even hold itself
        self._checked.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(cast("list[yaml.Node]", node.value)):
                self._check_keys(item, (*place, index))
        if not isinstance(node, yaml.MappingNode):
            return
        lines: dict[str, int] = {}
        for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            name, line = str(key.value), key.start_mark.line + 1
            if key.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
                raise ConfigError(
                    f'{self.path.name}, line {line}: key {name} is not text; write it in quotes: "{name}"'
                )
            if name in lines:
                where = ".".join(map(str, (*place, name)))
                raise ConfigError(
                    f"{self.path.name}, line {line}: {where}: given twice, first in line {lines[name]}. Remove one."
                )
            lines[name] = line
            self._check_keys(value, (*place, name))

    def _line_of(self, place: Place) -> int | None:
        """Return the 1-based line of a key, or of the nearest key above it."""
        node, line = self._node, None
        for part in place:
            found = _child(node, part)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line + 1
        return line


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the key and value nodes below a node."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = cast("yaml.Node", node.value[part])
        return item, item
    if isinstance(node, yaml.MappingNode):
        pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
        return next(((key, value) for key, value in pairs if key.value == str(part)), None)
    return None


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path} is larger than 1 MB; is it the right file?")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r} is no path. Check how it is written.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Check the path and its permissions.") from None


def _explain_syntax(path: Path, text: str, error: yaml.MarkedYAMLError) -> str:
    """Return the YAML parser's error in one line."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    where = f"{path.name}, line {line}" if line else path.name
    lines = text.splitlines()
    if line and line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]:
        return f"{where}: a tab. YAML indents with spaces: replace the tab by two spaces."
    return f"{where}: not YAML: {error.problem or error.context}"
