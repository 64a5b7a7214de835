#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares what the headers promise to compiled programs with what abi.txt has recorded: layouts,
values of enums and macros, function types, prototypes. docs/abi.md says what may change.

    abi.py                     the tests
    abi.py --renew [--force]   records the headers as they are; --force: although programs break
"""

import argparse
import difflib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

from tap import Tap, check, same

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
RECORD = HERE / "abi.txt"
HEADERS = ["rte_hotplug_eal.h", "rte_hotplug.h"]
RENEW = "python3 capi-tests/abi.py --renew"
HEADING = f"# What programs rely on, on 64-bit machines; see docs/abi.md. Renew with: {RENEW}\n"

NAME = r"[A-Za-z_]\w*"
DECLARATIONS = {
    "enum": re.compile(rf"^enum ({NAME}) {{([^{{}}]*)}};", re.MULTILINE),
    "struct": re.compile(rf"^struct ({NAME}) {{([^{{}}]*)}};", re.MULTILINE),
    "opaque": re.compile(rf"^struct ({NAME})();", re.MULTILINE),
    "typedef": re.compile(rf"^typedef [^;{{}}()]*\(\*({NAME})\)(\([^;{{}}()]*\));", re.MULTILINE),
    "function": re.compile(rf"^[a-z][^;{{}}()#]*?\b({NAME})(\([^;{{}}()]*\));", re.MULTILINE),
    "macro": re.compile(rf"^#define ({NAME}) +(\S.*)$", re.MULTILINE),
}
ENUMERATOR = re.compile(rf"({NAME})(?:\s*=.*)?", re.DOTALL)
FIELD = re.compile(rf"[\w ]+?[ *]+({NAME})(?:\[\w+\])?")
# What is neither declares anything: C++, guards, includes, and the choice of DPDK's own headers.
NOISE = re.compile(r"^(#(ifdef|ifndef|if|else|endif|include|define \w+$).*|extern \"C\" {|})[ \t]*$",
                   re.MULTILINE)


def without_dpdk(text: str) -> str:
    """DPDK's headers may be where every compiler looks: what is recorded is ours."""
    return text.replace("__has_include(<rte_dev.h>)", "0")


def without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def declarations(text: str) -> dict[str, dict[str, str]]:
    """Kind -> name -> what its braces, parentheses or value are. Nothing is left out silently."""
    text = re.sub(r"#define RTE_HOTPLUG_WITH_DPDK_HEADERS 1$", "", without_comments(text),
                  flags=re.MULTILINE)
    found: dict[str, dict[str, str]] = {}
    for kind, pattern in DECLARATIONS.items():
        found[kind] = {name: body for name, body in pattern.findall(text)}
        text = pattern.sub("", text)
    rest = NOISE.sub("", text).split()
    check(not rest, f"abi.py cannot read this of the headers: {' '.join(rest)}")
    return found


def enumerators(body: str) -> list[str]:
    return [ENUMERATOR.fullmatch(part.strip()).group(1)
            for part in body.split(",") if part.strip()]


def fields(name: str, body: str) -> dict[str, str]:
    """Name -> declaration."""
    result = {}
    for part in filter(None, (" ".join(part.split()) for part in body.split(";"))):
        match = FIELD.fullmatch(part)
        check(match, f"abi.py cannot read this field of struct {name}: {part}")
        result[match[1]] = part
    return result


def printing(text: str, *values: str) -> str:
    arguments = "".join(f", (long long)({value})" for value in values)
    return f'\tprintf("{text}\\n"{arguments});\n'


def printer(found: dict[str, dict[str, str]]) -> str:
    """A C program that prints macros, enums and structs; what it declares itself gives -aux-info the
    types of the function pointers."""
    out = "".join(f"extern __typeof__(*({name})0) {name}_type;\n" for name in found["typedef"])
    out += "int main(void)\n{\n"
    for name in found["macro"]:
        out += printing(f"macro {name}: %lld", name)
    for name, body in found["enum"].items():
        out += printing(f"enum {name}: %lld bytes", f"sizeof(enum {name})")
        for value in enumerators(body):
            out += printing(f"\\t{value} = %lld", value)
    for name in found["opaque"]:
        out += printing(f"struct {name}: opaque")
    for name, body in found["struct"].items():
        out += printing(f"struct {name}: %lld bytes, aligned to %lld",
                        f"sizeof(struct {name})", f"_Alignof(struct {name})")
        for field, declaration in fields(name, body).items():
            out += printing(f"\\t%lld+%lld {declaration}", f"offsetof(struct {name}, {field})",
                            f"sizeof(((struct {name} *)0)->{field})")
    return out + "\treturn 0;\n}\n"


def command(*arguments) -> str:
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, check=False,
                          timeout=60)
    check(done.returncode == 0, f"{shlex.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def prototypes(listing: str, found: dict[str, dict[str, str]]) -> list[str]:
    """The compiler's list of prototypes, with types only: the names of parameters may change."""
    types = {name: result + arguments for result, name, arguments in
             re.findall(rf"^/\* .* \*/ extern (.*?)\b({NAME}) (\(.*\));$", listing, re.MULTILINE)}
    return ([f"typedef {name}: {types[name + '_type']}" for name in found["typedef"]]
            + [f"function {name}: {types[name]}" for name in found["function"]])


def record(headers: dict[str, str]) -> str:
    """What the headers, name -> text, promise."""
    found = declarations("".join(headers.values()))
    with tempfile.TemporaryDirectory(prefix="hotplug_abi_") as directory:
        place = pathlib.Path(directory)
        for name, text in headers.items():
            (place / name).write_text(without_dpdk(text), encoding="utf-8")
        (place / "abi.c").write_text("#include <stdio.h>\n#include \"rte_hotplug.h\"\n"
                                     + printer(found), encoding="utf-8")
        compiler = shlex.split(os.environ.get("CC", "cc"))
        command(*compiler, "-std=gnu11", "-aux-info", place / "prototypes", "-o", place / "abi",
                place / "abi.c")
        values = command(place / "abi")
        listing = (place / "prototypes").read_text(encoding="utf-8")
    text = values + "".join(line + "\n" for line in prototypes(listing, found))
    return f"{HEADING}SONAME {soname()}\n" + "".join(sorted(entries(text).values()))


def soname() -> str:
    return re.search(r"-soname,([\w.]+)", (ROOT / "build.rs").read_text(encoding="utf-8")).group(1)


def entries(text: str) -> dict[str, str]:
    """Kind and name -> the lines about it."""
    blocks = re.findall(r"^[a-z].*\n(?:\t.*\n)*", text, re.MULTILINE)
    return {block.split(":")[0]: block for block in blocks}


def breaks(old: str, new: str) -> list[str]:
    """What a program that was built with the old record cannot live with in the new one."""
    after = entries(new)
    return [f"{name}: {reason}" for name, before in entries(old).items()
            if (reason := incompatible(name.split()[0], before, after.get(name)))]


def incompatible(kind: str, before: str, after: str | None) -> str | None:
    if after == before:
        return None
    if after is None:
        return "has gone"
    if kind == "enum":
        lost = set(before.splitlines()) - set(after.splitlines())
        return f"lost {', '.join(line.strip() for line in sorted(lost))}" if lost else None
    if kind == "struct":
        return incompatible_struct(before.splitlines(), after.splitlines())
    return "has changed"


def incompatible_struct(before: list[str], after: list[str]) -> str | None:
    if before[0].endswith("opaque"):
        return None
    if after[1:len(before)] != before[1:]:
        return "has other fields, or another order of them"
    if before[1] != "\t0+8 size_t size":
        return "has grown, and does not start with its size"
    if before[0].split()[-1] != after[0].split()[-1]:
        return "has another alignment"
    size = int(before[0].split()[2])
    if any(int(line.split("+")[0]) < size for line in after[len(before):]):
        return f"has a new field in what was padding: {size} bytes tell nothing about it"
    return None


def committed_headers() -> dict[str, str]:
    return {name: (ROOT / "include" / name).read_text(encoding="utf-8") for name in HEADERS}


def renew(force: bool) -> int:
    old = RECORD.read_text(encoding="utf-8") if RECORD.exists() else ""
    new = record(committed_headers())
    broken = breaks(old, new) if f"SONAME {soname()}\n" in old else []
    for line in broken:
        print(f"breaks programs built against {soname()}: {line}")
    if broken and not force:
        print("not recorded: undo it, or count up the SONAME (docs/abi.md); --force if no release has it")
        return 1
    RECORD.write_text(new, encoding="utf-8")
    return 0


def difference(old: str, new: str) -> str:
    """Empty when there is none."""
    if old == new:
        return ""
    broken = breaks(old, new)
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), "abi.txt", "the headers",
                                      lineterm="", n=1))
    lines += ["It breaks programs: " + line for line in broken] or ["It only adds."]
    return "\n".join([*lines, f"If it is meant (docs/abi.md), renew with: {RENEW}"])


def test() -> int:
    tap = Tap()
    headers = committed_headers()
    now = record(headers)

    @tap.case("the headers promise what abi.txt has recorded")
    def _():
        found = difference(RECORD.read_text(encoding="utf-8"), now)
        check(not found, f"\n{found}")

    @tap.case("the headers declare the functions of exports.txt, and no others")
    def _():
        names = [name.split()[1] for name in entries(now) if name.startswith("function ")]
        exports = (HERE / "exports.txt").read_text(encoding="ascii").split()
        same(sorted(names), sorted(exports), "functions")

    def changed(pattern: str, replacement: str) -> list[str]:
        changes = {name: re.subn(pattern, replacement, text, count=1)
                   for name, text in headers.items()}
        same(sum(count for _, count in changes.values()), 1, f"places of {pattern}")
        new = record({name: text for name, (text, _) in changes.items()})
        check(new != now, "the record does not see it")
        return breaks(now, new)

    def add(name: str, pattern: str, replacement: str, expected: list[str]):
        @tap.case(name)
        def _():
            same(changed(pattern, replacement), expected, "breaks")

    comment = r"(?:/\*(?:[^*]|\*(?!/))*\*/\s*)"
    add("another order of fields breaks",
        rf"(struct rte_hotplug_peer {{\s*){comment}(uint32_t pid;)\s*{comment}(uint32_t state;)",
        r"\1\3 \2", ["struct rte_hotplug_peer: has other fields, or another order of them"])
    add("another type of the same size breaks", r"uint32_t is_primary;", "int32_t is_primary;",
        ["struct rte_hotplug_peer: has other fields, or another order of them"])
    add("a larger struct without a size breaks", r"char socket\[64\];", "char socket[64]; int more;",
        ["struct rte_hotplug_peer: has grown, and does not start with its size"])
    add("a new field in padding breaks", r"(uint32_t stock_peer_ms;)", r"\1 uint32_t more;",
        ["struct rte_hotplug_timeouts: has a new field in what was padding: 24 bytes tell nothing "
         "about it"])
    add("an enum that has lost a value breaks", r"RTE_HOTPLUG_AUTO_FAILED = 5,", "",
        ["enum rte_hotplug_auto_step: lost RTE_HOTPLUG_AUTO_FAILED = 5"])
    add("an enum with another value breaks", r"RTE_HOTPLUG_AUTO_FAILED = 5,",
        "RTE_HOTPLUG_AUTO_FAILED = 6,",
        ["enum rte_hotplug_auto_step: lost RTE_HOTPLUG_AUTO_FAILED = 5"])
    add("another argument breaks", r"rte_eth_dev_detach\(uint16_t ", "rte_eth_dev_detach(uint32_t ",
        ["function rte_eth_dev_detach: has changed"])
    add("another result breaks", r"unsigned int rte_hotplug_event_policy_get",
        "uint64_t rte_hotplug_event_policy_get",
        ["function rte_hotplug_event_policy_get: has changed"])
    add("another callback breaks", r"(\*rte_hotplug_uevent_cb\)\(const struct) (\w+)",
        r"\1 rte_device", ["typedef rte_hotplug_uevent_cb: has changed"])
    add("a function that has gone breaks", r"const char \*rte_hotplug_version\(void\);", "",
        ["function rte_hotplug_version: has gone"])
    add("another value of a macro breaks", r"(#define RTE_HOTPLUG_AUTO_NOW) 1", r"\1 2",
        ["macro RTE_HOTPLUG_AUTO_NOW: has changed"])
    add("a larger struct with a size does not break", r"(uint64_t retries;)", r"\1 uint64_t more;", [])
    add("a new value, function and macro do not break", r"(RTE_HOTPLUG_AUTO_FAILED = 5,)(\s*};)",
        r"\1 RTE_HOTPLUG_AUTO_MORE = 6\2\n#define RTE_HOTPLUG_MORE 1\nint rte_hotplug_more(void);", [])

    @tap.case("names of parameters do not matter")
    def _():
        renamed = {name: text.replace("uint16_t port_id", "uint16_t port")
                   for name, text in headers.items()}
        check(renamed != headers, "nothing was renamed")
        same(record(renamed), now, "record")

    @tap.case("what abi.py cannot read is an error")
    def _():
        for text in ("union rte_hotplug_union { int a; };\n", "struct rte_hotplug_x {\n\tint a : 3;\n};\n"):
            try:
                record(headers | {HEADERS[1]: text + headers[HEADERS[1]]})
            except AssertionError as error:
                check("cannot read" in str(error), str(error))
            else:
                raise AssertionError(f"it was read: {text}")

    return tap.run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--force", action="store_true")
    options = parser.parse_args()
    return renew(options.force) if options.renew else test()


if __name__ == "__main__":
    sys.exit(main())
