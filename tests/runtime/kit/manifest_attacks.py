"""Attacks on a kit's manifest, with every checksum right, so that only its own checks are left."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from kit_forge import Target, attack, nodes, noise, replaced, word

OPTIONAL = ("common_name", "warning", "filter", "sets", "unknown", "range")
# They may be absent, but are never null.
NEWER = ("thresholds", "common_names", "countries", "boxes")
MAPPINGS = (
    *("taxon", "common_names", "measured", "thresholds", "environment", "calibration"),
    "default_variants",
)
POOL = (None, True, 0, -1, 1.5, 2**40, "", "1", "x" * 600, "\0", [], [[]], [1] * 9, {}, {"a": {}})


def marked(target: Target, random: Random, *, known: bool) -> bytes:
    """Return the manifest as JSON with ``"@"`` at one value, or at a key that readers ignore."""
    if known:
        path = random.choice([path for path, _ in nodes(target.head)])
        return json.dumps(replaced(target.head, path, "@")).encode()
    path = random.choice(((), ("classes", 1), ("variants", 0), ("preprocessing",)))
    found = dict(nodes(target.head))[path]
    return json.dumps(replaced(target.head, path, {**found, f"x {word(random)}": "@"})).encode()


@attack("no valid JSON")
def depth_bombs(target: Target, random: Random) -> bytes:
    depth = int(10 ** random.uniform(0.7, 4.5))
    shapes = (
        *(b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth),
        *(b"[" + b"[]," * depth + b"[]]", b"[{}" + b",{}" * depth + b"]"),
    )
    head = marked(target, random, known=random.random() < 0.5)
    return target.reseal(head.replace(b'"@"', random.choice(shapes)))


@attack("must be")
def huge_numbers(target: Target, random: Random) -> bytes:
    digits = b"%d" % random.randint(1, 9) * int(10 ** random.uniform(2.6, 5))
    number = random.choice((digits, b"-" + digits, digits + b".5", b"1e" + digits[:4], b"-9e999"))
    number = random.choice((number, number, b"NaN", b"Infinity", b"-Infinity"))
    head = marked(target, random, known=random.random() < 0.8)
    return target.reseal(head.replace(b'"@"', number))


@attack("key twice")
def repeated_keys(target: Target, random: Random) -> bytes:
    lines = json.dumps(target.head, indent=0).split("\n")
    index = random.choice([i for i, line in enumerate(lines) if line.startswith('"')])
    key, _, value = lines[index].partition(": ")
    other = f"{key}: {json.dumps(random.choice((*POOL, word(random))))}"
    ends = value and value[-1] not in "[{"
    again = f"{lines[index].rstrip(',')}, {other}{',' * value.endswith(',')}"
    lines[index] = again if ends and random.random() < 0.5 else f"{other}, {lines[index]}"
    return target.reseal("\n".join(lines).encode())


@attack("no valid JSON")
def broken_json(target: Target, random: Random) -> bytes:
    text = json.dumps(target.head, indent=random.choice((None, 1))).encode()
    places = [found.start() for found in re.finditer(rb'[{}\[\]:,"]', text)]
    place, anywhere = random.choice(places), random.randrange(len(text))
    odd = random.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\x80"))
    broken = (
        *(
            text[:place] + text[place + 1 :],
            text[:anywhere],
            text[:anywhere] + odd + text[anywhere:],
        ),
        *(
            text + noise(random).hex().encode(),
            b"\xef\xbb\xbf" + text,
            text.decode().encode("utf-16"),
        ),
        *(text[:place] + b"\0" + text[place:], text.replace(b'"', b"'", random.randint(1, 99))),
    )
    return target.reseal(random.choice(broken))


def kind(value: Any) -> str:
    kinds = {bool: "truth", int: "number", float: "number", str: "text", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)


@attack("must be")
def wrong_types(target: Target, random: Random) -> bytes:
    path, value = random.choice([*nodes(target.head)])
    right = {kind(value)}
    if "measured" in path[:-1]:
        right |= {"text", "number", "truth", "null"}
    elif path == ("filter",):
        right |= {"null"}
    elif (path and path[-1] in OPTIONAL) or "taxon" in path[:-1]:
        right |= {"text", "null"}
    wrong = random.choice([item for item in (*POOL, word(random)) if kind(item) not in right])
    return target.reseal(replaced(target.head, path, wrong))


@attack("must be")
def wrong_values(target: Target, random: Random) -> bytes:
    head, few = target.head, random.randint(1, 10**6)
    path, value = random.choice([n for n in nodes(head) if kind(n[1]) in ("text", "number")])
    wrong = ["", "x" * (501 + few % 999)]
    wrong += [f"{value}{odd}{few}" for odd in "\x1b\n\r\t\0\u202e\u2028\ud800\x7f"]
    if kind(value) == "number":
        wrong = [10 ** random.randint(309, 4200), -(10 ** random.randint(309, 4200))]
        wrong += {"size": [-few, few + 0.5, 2**31 + few], "id": [-few, few + 9]}.get(path[-1], [])
        if path[-1] == "temperature" and "variants" in path:
            wrong += [-few, few + 1000, 0]
        if path[-1] == "bias" or "thresholds" in path:
            wrong += [-few - 1000, few + 1000]
    return target.reseal(replaced(head, path, random.choice(wrong)))


@attack("lacks")
def missing_keys(target: Target, random: Random) -> bytes:
    head = json.loads(json.dumps(target.head))
    parts = [(path, part) for path, part in nodes(head) if isinstance(part, dict)]
    parts = [(path, part) for path, part in parts if not set(path) & set(MAPPINGS)]
    # The filter's thresholds are no mapping: they need both.
    parts.append((("filter", "thresholds"), head["filter"]["thresholds"]))
    for _ in range(random.randint(1, 4)):
        _, part = random.choice(parts)
        if keys := sorted(set(part) - {*OPTIONAL, *NEWER}):
            del part[random.choice(keys)]
    return target.reseal(head)


@attack("must name|not listed|unique|in order")
def wrong_references(target: Target, random: Random) -> bytes:
    head, name = target.head, word(random)
    classes, variants = head["classes"], head["variants"]
    engine = random.choice(("litert", "onnxruntime", name))
    member = random.choice((f"models/{name}.onnx", f"models/{name}.tflite", f"{name}.md"))
    some = random.choices(classes, k=random.randint(2, 9))
    changes = (
        {"classes": [*classes, *some]},
        {"classes": [{**item, "id": number} for number, item in enumerate([*classes, *some])]},
        {"classes": [{**classes[1], "name": name}, *classes]},
        {"variants": [*variants, {**random.choice(variants), "engine": engine}]},
        {"variants": [{**variants[0], "member": member}, variants[1]]},
        {"default_variants": {engine: name}},
    )
    return target.reseal({**head, **random.choice(changes)})


@attack("is a classifier's|true and false|must be a number from 0.9")
def wrong_filters(target: Target, random: Random) -> bytes:
    head, few = target.head["filter"], random.randint(1, 999) / 1000
    classes, variants, name = head["classes"], head["variants"], word(random)
    one, other = random.sample(variants, 2)
    same = [{**item, "organism": few < 0.5} for item in random.sample(classes, len(classes))]
    changes = (
        {"classes": [{**item, "name": f"{name}{item['name']}"} for item in same]},
        {"classes": [*classes, {**random.choice(classes), "organism": few < 0.5}]},
        {"classes": [*classes, *({"name": f"{name}{i}", "organism": True} for i in range(1000))]},
        {"classes": random.sample(classes, 1)},
        {"variants": [{**variants[0], "member": "models/a.tflite", "name": name}, variants[1]]},
        {"variants": [variants[0], {**variants[1], "member": "models/b.onnx", "bias": few}]},
        {"variants": [one, {**other, "name": one["name"], "temperature": few}]},
        {"variants": [{**one, "member": f"models/{name}{one['member'][-7:]}"}, other]},
        {"variants": [{**one, "name": f"{name}{i}"} for i in range(random.randint(33, 99))]},
        {"default_variants": {one["engine"]: random.choice((other["name"], name))}},
        {"thresholds": {"not_organism": 0.9 + few / 10, "organism": few * 0.9}},
        {"thresholds": {"not_organism": few, name: 1}},
    )
    changed = {**head, **random.choice(changes)}
    return target.reseal(replaced(target.head, ("filter",), changed))


@attack("^$")
def other_spellings(target: Target, random: Random) -> bytes:
    def shuffled(value: Any, path: tuple = ()) -> Any:
        if isinstance(value, list):
            return [shuffled(child, (*path, 0)) for child in value]
        if not isinstance(value, dict):
            return value
        items = [(key, shuffled(child, (*path, key))) for key, child in value.items()]
        if path[-1:] != ("members",) and not set(path) & set(MAPPINGS):
            items.append((f"x {word(random)}", random.choice(POOL)))
        return dict(random.sample(items, len(items)))

    space = random.choice((None, 0, 3, "\t"))
    text = json.dumps(shuffled(target.head), indent=space, ensure_ascii=random.random() < 0.5)
    return target.reseal(text.encode() + b" \n" * random.randint(0, 9))
