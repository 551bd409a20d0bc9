"""Study files made to do harm, and files that are well meant and were misread."""

from __future__ import annotations

import time

from wingbeat.errors import WingbeatError
from wingbeat.study.file import read_study

FACTORY = '"wingbeat.tasks.dense:circles_task"'
BASE = f"[base]\nfactory = {FACTORY}\n"
YBASE = f"base:\n  factory: {FACTORY}\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MANY = 20_000
LONG = "x" * 300

REFUSED = {
    "a billion replicates.toml": f"replicates = 1e9\n{BASE}",
    "whole billion.toml": f"replicates = 1000000000\n{BASE}",
    "many axes.toml": BASE + "[axes]\n" + "".join(f"tags.t{i} = [1, 2]\n" for i in range(40)),
    "alias bomb.yaml": BOMB + YBASE,
    "alias bomb in base.yaml": YBASE
    + "  arguments:\n"
    + "".join(f"    {line}\n" for line in BOMB.splitlines()),
    "itself.yaml": YBASE + "  arguments: &a {b: *a}\n",
    "deep lists.toml": f"{BASE}arguments.a = {'[' * 3000}{']' * 3000}\n",
    "deep lists.yaml": f"{YBASE}  arguments: {{a: {'[' * 3000}{']' * 3000}}}\n",
    "deep tables.yaml": f"{YBASE}  arguments: {'{a: ' * 400}1{'}' * 400}\n",
    "forty deep.toml": f"{BASE}arguments.a = {'[' * 60}{']' * 60}\n",
    "keys.yaml": YBASE + "  arguments:\n" + "".join(f"    k{i}: 1\n" for i in range(MANY)),
    "cells.yaml": YBASE + "cells:\n- " + "  ".join(f"arguments.k{i}: 1\n" for i in range(MANY)),
    "keys at the top.yaml": YBASE + "".join(f"k{i}: 1\n" for i in range(MANY)),
    "keys.toml": BASE + "".join(f"arguments.k{i} = 1\n" for i in range(MANY)),
    "rules.yaml": YBASE
    + "axes: {seed: ["
    + ", ".join(map(str, range(2000)))
    + "]}\nonly:\n"
    + "".join(f"- {{seed: {i}}}\n" for i in range(MANY)),
    "list as a key.yaml": YBASE + "  arguments: {? [1, 2] : 3}\n",
    "table as a key.yaml": YBASE + "? {a: 1}\n: 2\n",
    "number as a key.yaml": YBASE + "  arguments: {1: 2}\n",
    "nothing as a key.yaml": YBASE + "  arguments: {~: 2}\n",
    "twice.yaml": YBASE + "name: a\nname: b\n",
    "merge.yaml": "x: &x {a: 1}\n" + YBASE + "  arguments: {<<: *x}\n",
    "code.yaml": "base: !!python/object/apply:os.system [true]\n",
    "date tag.yaml": YBASE + "  tags: {a: !!timestamp 2024-01-01}\n",
    "no.yaml": YBASE + "  arguments: {shuffle: no}\n",
    "On.yaml": YBASE + "  arguments: {shuffle: On}\n",
    "bytes.toml": b"\xff\xfe\x00",
    "bytes.yaml": b"\xff\xfe\x00",
    "null.yaml": YBASE + "name: 'a\0b'\n",
    "large.toml": BASE + "#" * (9 << 20),
    "huge number.toml": f"{BASE}replicas = {'9' * 5000}\n",
    "huge replicas.toml": f"{BASE}replicas = {10**17}\n",
    "huge seed.yaml": f"{YBASE}  seeds: [{2**70}]\n",
    "no seeds.toml": f"{BASE}seeds = 5\n",
    "nan.toml": f"{BASE}arguments.lr = nan\n",
    "inf.yaml": f"{YBASE}  arguments: {{lr: .inf}}\n",
    "path.toml": f'name = "../out"\n{BASE}',
    "parent.toml": f'name = ".."\n{BASE}',
    "home.toml": f'name = "~root"\n{BASE}',
    "backslash.toml": f"name = 'a\\b'\n{BASE}",
    "escape.toml": f'name = "\\u001b[31m"\n{BASE}',
    "long.toml": f'name = "{LONG}"\n{BASE}',
    "no text.toml": f"name = 3\n{BASE}",
    "relative.toml": '[base]\nfactory = "..a:b"\n',
    "no module.toml": '[base]\nfactory = ":b"\n',
    "null module.toml": '[base]\nfactory = "a\\u0000:b"\n',
    "no factory.toml": "[base]\nreplicas = 3\n",
    "number factory.toml": "[base]\nfactory = 3\n",
    "list factory.toml": '[base]\nfactory = ["a:b"]\n',
    "text perturbations.toml": f'{BASE}perturbations = ["x"]\n[axes]\nperturbation.scale = [1.0]\n',
    "text perturbation.toml": f'{BASE}[axes]\nperturbation = ["x"]\n',
    "text optimizer.toml": f'{BASE}optimizer = "SGD"\n[axes]\noptimizer.lr = [1.0]\n',
    "list arguments.toml": f"{BASE}arguments = [1]\n[axes]\narguments.lr = [1.0]\n",
    "list tags.toml": f'{BASE}tags = [1]\n[[only]]\ntags.a = "b"\n',
    "list record.toml": f"{BASE}record_every = [1]\n",
    "list type.toml": f"{BASE}dtype = [1]\n",
    "list driver.toml": f"{BASE}driver = [1]\n",
    "number metrics.toml": f"{BASE}metrics = 5\n",
    "number measures.toml": f"{BASE}measures = [5]\n",
    "text bound.toml": f'{BASE}arguments.lr = 0.1\n[[only]]\narguments.lr = {{ max = "a" }}\n',
    "empty rule.toml": f"{BASE}[[only]]\n",
    "empty axis.toml": f"{BASE}[axes]\nseed = []\n",
    "text axis.toml": f'{BASE}[axes]\nseed = "abc"\n',
    "number axis.toml": f"{BASE}[axes]\nseed = 3\n",
    "unknown.toml": f"{BASE}[axis]\nseed = [3]\n",
    "nan seconds.toml": f"{BASE}[budget]\nseconds = nan\n",
    "list.yaml": "- a\n- b\n",
    "text.yaml": "abc\n",
    "empty.yaml": "",
    "empty.toml": "",
    "tab.yaml": "a:\n\t- b\n",
    "open.yaml": "a: [\n",
    "two documents.yaml": "a: 1\n---\nb: 2\n",
    "no anchor.yaml": "a: *b\n",
    "colons.yaml": "a: b: c\n",
    "directive.yaml": "%YAML 9.9\n---\na: 1\n",
}
"""Refused by name, within a second, before a grid is built."""
READ = {
    "sixty.yaml": ("tags: {a: 1:30}", "1:30"),
    "octal.yaml": ("tags: {a: 017}", "017"),
    "under.yaml": ("tags: {a: 1_000}", "1_000"),
    "date.yaml": ("tags: {a: 2024-01-01}", "2024-01-01"),
    "binary.yaml": ("tags: {a: 0b11}", "0b11"),
    "quoted.yaml": ("tags: {a: 'no'}", "no"),
    "y.yaml": ("tags: {a: y}", "y"),
    "hex.yaml": ("tags: {a: 0x10}", 16),
    "eight.yaml": ("tags: {a: 0o17}", 15),
    "rate.yaml": ("tags: {a: 1e-4}", 1e-4),
    "sign.yaml": ("tags: {a: -3}", -3),
    "point.yaml": ("tags: {a: .5}", 0.5),
    "true.yaml": ("tags: {a: True}", True),
    "nothing.yaml": ("tags: {a: ~}", None),
    "alias.yaml": ("tags: {b: &x [1, 2], a: *x}", [1, 2]),
}
"""What a value of YAML is read as."""
SECONDS = 5.0
"""Beyond it a file counts as one that hangs; each takes far below one."""


def attack(folder, name):
    """Read one hostile file; return "" where it was refused by name, else what happened."""
    content, path = REFUSED[name], folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    begin = time.process_time()
    try:
        read_study(path).conditions()
    except WingbeatError as error:
        said = str(error)
        if not said or len(said) > 2000 or "\x1b" in said:
            return f"wrong: {name} is refused with {len(said)} characters"
    except Exception as error:
        return f"raw: {name} gave {type(error).__name__}: {str(error)[:80]}"
    else:
        return f"wrong: {name} was taken"
    taken = time.process_time() - begin
    return f"wrong: {name} took {taken:.0f} s" if taken > SECONDS else ""
