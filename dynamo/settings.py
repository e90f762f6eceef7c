"""Settings as TOML files: read, checked and written.

Whoever mistypes a setting has no other help at hand than the message, so every mistake becomes one
sentence that names the file, the setting, its value and what would be right. An unknown key is a
mistake too, and the nearest known one is named: a misspelt setting that is silently ignored is
worse than a node that does not start.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeVar, get_type_hints

import msgspec

from dynamo.config import ClusterConfig, NodeConfig, Seed
from dynamo.core.ids import Address, NodeId, is_node_id
from dynamo.core.property_rules import (
    DEFAULTS,
    TYPE_DEFAULTS,
    coerced,
    contradictions,
    known_names,
    wanted,
)
from dynamo.errors import ConfigError

_Raw = dict[str, object]
_T = TypeVar("_T", ClusterConfig, NodeConfig)

_TABLES: Final = {"cluster": ClusterConfig, "node": NodeConfig}

# What a file for many nodes cannot say, as each node has its own.
OWN: Final = ("node_id", "data_dir", "http_port", "rpc_port", "seeds", "peer_addresses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that a node is told at its start."""

    cluster: ClusterConfig
    node: NodeConfig


def load(path: Path) -> Settings:
    """The settings of one node.

    Raises:
        ConfigError: the file cannot be read, or something in it is wrong.
    """
    tables = _read(path)
    cluster = _cluster(path, tables["cluster"])
    node = _convert(path, "node", tables["node"], NodeConfig)
    return Settings(cluster=cluster, node=replace(node, data_dir=path.parent / node.data_dir))


def load_shared(path: Path) -> Settings:
    """Settings shared by many nodes; what each has of its own (`OWN`) is to be replaced.

    Raises:
        ConfigError: the file cannot be read, something in it is wrong, or it has a setting that
            must differ from node to node.
    """
    tables = _read(path)
    for name in OWN:
        if name in tables["node"]:
            raise ConfigError(f"{path}: [node] {name} cannot be shared: each node has its own")
    node = {"node_id": "n1", "data_dir": "data"} | tables["node"]
    return Settings(
        cluster=_cluster(path, tables["cluster"]),
        node=_convert(path, "node", node, NodeConfig),
    )


def write(settings: Settings, path: Path) -> None:
    """Write a file that `load` reads as these settings.

    Raises:
        OSError: it cannot be written.
    """
    lines: list[str] = []
    for title, table in (("cluster", settings.cluster), ("node", settings.node)):
        lines.append(f"[{title}]")
        lines += [f"{f.name} = {_toml(getattr(table, f.name))}" for f in fields(table)]
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


def write_shared(settings: Settings, path: Path) -> None:
    """Write a file that `load_shared` reads as these settings, defaults left out.

    Raises:
        OSError: it cannot be written.
    """
    lines: list[str] = []
    for title, table in (("cluster", settings.cluster), ("node", settings.node)):
        lines.append(f"[{title}]")
        for f in fields(table):
            default = f.default if f.default_factory is MISSING else f.default_factory()
            if f.name not in OWN and getattr(table, f.name) != default:
                lines.append(f"{f.name} = {_toml(getattr(table, f.name))}")
        lines.append("")
    new = path.with_name(f"{path.name}.new")
    new.write_text("\n".join(lines), encoding="utf-8")
    new.replace(path)


def parse_address(text: str) -> Address:
    """An address written `host:port`, with an IPv6 host in brackets.

    Raises:
        ValueError: it is none.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    # isdecimal alone would admit digits of other scripts.
    if not (host and colon and port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(text)
    return Address(host, int(port))


def parse_seed(text: str) -> Seed:
    """A seed written `id@host:port`.

    Raises:
        ValueError: it is none.
    """
    node_id, _, address = text.partition("@")
    return Seed(_parse_node_id(node_id), parse_address(address))


def _read(path: Path) -> dict[str, _Raw]:
    """Both tables of a file, keys checked, values not; a table it does not have is empty."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text, from byte {error.start} on") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply") from error
    tables: dict[str, _Raw] = {title: {} for title in _TABLES}
    for title, table in raw.items():
        if title not in tables:
            what = "table" if isinstance(table, dict) else "setting"
            raise ConfigError(f'{path}: the {what} "{title}" is unknown; {_nearest(title)}')
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {title} is {_shown(table)}, but must be a table [{title}]")
        for name in table:
            if name not in _names(_TABLES[title]):
                raise ConfigError(
                    f'{path}: the setting "{name}" in [{title}] is unknown; {_nearest(name)}'
                )
        tables[title] = table
    return tables


def _cluster(path: Path, table: _Raw) -> ClusterConfig:
    config = _convert(path, "cluster", table, ClusterConfig)
    _check_properties(path, "bucket_defaults", DEFAULTS, config.bucket_defaults)
    for name, properties in config.bucket_types.items():
        _check_properties(path, f"bucket_types.{name}", TYPE_DEFAULTS, properties)
    return config


def _check_properties(
    path: Path, title: str, defaults: Mapping[str, object], given: Mapping[str, object]
) -> None:
    """Over HTTP unknown properties are kept for clients that know them; here they are mistakes."""
    where = f"{path}: [cluster.{title}]"
    known = known_names()
    for name in given:
        if name not in known:
            (nearest,) = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            raise ConfigError(
                f"{where} the property {_shown(name)} is unknown; the nearest known is {nearest}"
            )
    good, reasons = coerced(given)
    for name in reasons:
        raise ConfigError(f"{where} {name} is {_shown(given[name])}, but must be {wanted(name)}")
    made = {**defaults, **good}
    for name in contradictions(made, typed=defaults is TYPE_DEFAULTS):
        right = {
            "dvv_enabled": "false where last_write_wins is true",
            "allow_mult": "true where there is a datatype",
            "datatype": "left out where write_once is true" if made["write_once"] else None,
        }.get(name)
        raise ConfigError(
            f"{where} {name} is {_shown(made[name])}, but must be {right or wanted(name)}"
        )


def _nearest(name: str) -> str:
    """Which known setting or table a mistyped one is probably meant to be."""
    known = {title: f"the nearest known is the table [{title}]" for title in _TABLES}
    for title, cls in _TABLES.items():
        known |= {n: f"the nearest known is {n} in [{title}]" for n in _names(cls)}
    (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return known[nearest]


def _names(cls: type[_T]) -> list[str]:
    return [f.name for f in fields(cls)]


def _convert(path: Path, title: str, table: _Raw, cls: type[_T]) -> _T:
    for f in fields(cls):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in table:
            raise ConfigError(f"{path}: [{title}] {f.name} is missing: {_wanted(cls, f.name)}")
    try:
        return msgspec.convert(_parsed(table), cls, dec_hook=_path_from_text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        # The text ends in "at `$.setting...`"; the rest of it speaks of Python's types.
        (name,) = re.findall(r"\$\.(\w+)", str(error))
        raise ConfigError(
            f"{path}: [{title}] {name} is {_shown(table[name])}, but must be {_wanted(cls, name)}"
        ) from error


def _wanted(cls: type[_T], name: str) -> str:
    hint = get_type_hints(cls, include_extras=True)[name]
    (meta,) = (m for m in hint.__metadata__ if isinstance(m, msgspec.Meta))
    assert meta.description is not None, name
    return meta.description


def _parsed(table: _Raw) -> _Raw:
    """The same with seeds and addresses taken apart; what is no text of that form is refused."""
    parsed = dict(table)
    seeds = table.get("seeds")
    if isinstance(seeds, list):
        parsed["seeds"] = [_item("seeds", seed, parse_seed) for seed in seeds]
    addresses = table.get("peer_addresses")
    if isinstance(addresses, dict):
        parsed["peer_addresses"] = {
            _item("peer_addresses", peer, _parse_node_id): _item(
                "peer_addresses", address, parse_address
            )
            for peer, address in addresses.items()
        }
    return parsed


def _parse_node_id(text: str) -> NodeId:
    if not is_node_id(text):
        raise ValueError(text)
    return NodeId(text)


def _item(name: str, item: object, parse: Callable[[str], object]) -> object:
    try:
        if isinstance(item, str):
            return parse(item)
    except ValueError:
        pass
    raise ConfigError(
        f"[node] {name} holds {_shown(item)}, but must be {_wanted(NodeConfig, name)}"
    )


def _path_from_text(cls: type, value: object) -> object:
    return Path(value) if cls is Path and isinstance(value, str) and value else value


def _shown(value: object) -> str:
    text = _toml(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _toml(value: object) -> str:
    """A value as TOML writes it, on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Seed():
            return _toml(f"{value.node_id}@{value.address}")
        case Address() | Path():
            return _toml(str(value))
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{_toml(k)} = {_toml(v)}' for k, v in value.items())}}}"
        case _:  # numbers, dates and times
            return str(value)
