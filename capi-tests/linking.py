#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How librte_hotplug gets into a process, and what it does there before anything else.

    linking.py LIBRTE_HOTPLUG.SO INCLUDE_DIR PART...
    linking.py LIBRTE_HOTPLUG_STATIC.A INCLUDE_DIR PART...

The parts: exports (the symbol table), processes (programs that have nothing to do with DPDK),
unknown (a DPDK that it does not know), and with DPDK's libraries order and plugin; of the other
flavour static, and with DPDK's libraries linked.
"""

import functools
import os
import re
import shlex
import subprocess
import sys
import tempfile

from header_check import STRICT, dpdk_flags
from tap import Tap, check, missing, remove_runtime_directory, same

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 60
WRONG_ORDER = "HOTPLUG: ERR: librte_hotplug is loaded but not in front"


def tool(*command, **options):
    """What a program prints; it has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS,
                          **options)
    check(done.returncode == 0, f"{shlex.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout


class Bench:
    """The library, and a directory to build programs in."""

    def __init__(self, library, include, directory):
        self.library, self.include, self.directory = library, include, directory

    def build(self, name, sources, *flags):
        """Builds from one file of linking/, or from several of capi-tests."""
        if isinstance(sources, str):
            sources = [os.path.join("linking", sources)]
        path = os.path.join(self.directory, name)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        tool(*compiler, "-std=c11", "-D_GNU_SOURCE", *STRICT, "-o", path,
             *(os.path.join(HERE, source) for source in sources), *flags)
        return path

    def ours(self):
        """Links with ours, also where the program calls none of it."""
        folder, name = os.path.split(self.library)
        return ["-Wl,--push-state,--no-as-needed", f"-L{folder}", f"-l:{name}",
                "-Wl,--pop-state", f"-Wl,-rpath,{folder}"]

    def build_static(self, name, *flags):
        """An application with the other flavour of the library."""
        return self.build(name, "static_app.c", "-I", self.include, *flags)

    def run(self, *command, preload=False, **environment):
        """The finished process."""
        variables = {k: v for k, v in os.environ.items()
                     if k not in ("LD_PRELOAD", "RTE_HOTPLUG_LOG")}
        if preload:
            variables["LD_PRELOAD"] = self.library
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS,
                              env=variables | environment, cwd=self.directory)


def dpdk():
    """The flags to compile and to link with DPDK."""
    flags = dpdk_flags()
    if flags is None:
        missing("libdpdk is not installed")
    return flags, shlex.split(tool("pkg-config", "--libs", "libdpdk"))


def hotplug_lines(text):
    return [line for line in text.splitlines() if "HOTPLUG" in line]


def exports(tap, bench):
    @tap.case("the exports are those of exports.txt")
    def _():
        symbols = [line.split() for line in
                   tool("nm", "-D", "--defined-only", bench.library).splitlines()]
        with open(os.path.join(HERE, "exports.txt"), encoding="ascii") as file:
            expected = file.read().split()
        same(expected, sorted(set(expected)), "exports.txt")
        # A version node would show as NAME@NODE.
        names = {fields[-1] for fields in symbols}
        same(sorted(names - set(expected)), [], "not in exports.txt")
        same(sorted(set(expected) - names), [], "not exported")
        same({fields[-2] for fields in symbols}, {"T"}, "kinds of symbols")

    @tap.case("there are no version nodes")
    def _():
        sections = tool("readelf", "-V", "-W", bench.library)
        check("Version definition section" not in sections, sections)

    @tap.case("nothing of DPDK is an undefined symbol")
    def _():
        undefined = tool("nm", "-D", "--undefined-only", bench.library).split()
        check("malloc" in " ".join(undefined), "nm shows nothing")
        same([name for name in undefined if name.startswith(("rte_", "per_lcore_"))], [],
             "undefined symbols")

    @tap.case("SONAME is librte_hotplug.so.1, and it is never unloaded")
    def _():
        dynamic = tool("readelf", "-d", "-W", bench.library)
        same(re.findall(r"\(SONAME\).*\[(.*)\]", dynamic), ["librte_hotplug.so.1"], "SONAME")
        flags = re.findall(r"\(FLAGS_1\)\s+Flags:(.*)", dynamic)
        check(flags and "NODELETE" in flags[0].split(), f"FLAGS_1 is {flags}")
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
        same([name for name in needed if "rte" in name], [], "DPDK libraries that it needs")


def processes(tap, bench):
    for command in (["sh", "-c", "true"], ["sh", "-c", "echo word; exit 7"],
                    ["sh", "-c", "sh -c 'ls -l'"], ["python3", "-c", "pass"], ["ls", "-la", "."],
                    ["ls", "no such file"]):
        @tap.case(f"LD_PRELOAD does not change: {shlex.join(command)}")
        def _(command=command):
            plain, preloaded = bench.run(*command), bench.run(*command, preload=True)
            same(preloaded.returncode, plain.returncode, "exit status")
            same(preloaded.stdout, plain.stdout, "standard output")
            same(preloaded.stderr, plain.stderr, "standard error")
            same(hotplug_lines(preloaded.stderr), [], "our lines")

    @tap.case("LD_PRELOAD really loads it")
    def _():
        maps = bench.run("cat", "/proc/self/maps", preload=True).stdout
        check(os.path.realpath(bench.library) in maps, maps)


def unknown(tap, bench):
    parts = [os.path.join("fake_eal", name)
             for name in sorted(os.listdir(os.path.join(HERE, "fake_eal")))
             if name.endswith(".c") and name not in ("app.c", "calls.c", "test_newest.c")]
    app = [os.path.join("fake_eal", "app.c")]

    @functools.cache
    def programs(*flags):
        """The program on the fake alone, and with ours in front."""
        place = tempfile.mkdtemp(dir=bench.directory)
        fake = bench.build(os.path.join(place, "librte_eal.so.26"), parts, "-shared", "-fPIC",
                           "-pthread", "-Wl,-soname,librte_eal.so.26", "-I", bench.include, *flags)
        link = ["-I", bench.include, "-Wl,--no-as-needed", fake, f"-Wl,-rpath,{place}"]
        return (bench.build(os.path.join(place, "app"), app, *link),
                bench.build(os.path.join(place, "app_ours"), app, *bench.ours(), *link))

    def forwards(causes, remedy, *flags, arguments=(), **environment):
        environment.setdefault("FAKE_ECHO", "1")
        plain, ours = programs(*flags)
        theirs = bench.run(plain, *arguments, **environment)
        same((theirs.returncode, theirs.stderr), (0, ""), "the fake alone")
        calls = re.findall(r"^fake (\w+)\(", theirs.stdout, re.MULTILINE)
        same(len(set(calls)), 14, "functions that the fake serves")
        for result in (bench.run(ours, *arguments, **environment),
                       bench.run(plain, *arguments, preload=True, **environment)):
            same(result.returncode, 0, f"exit status, with {result.stderr}")
            same(result.stdout.splitlines(), theirs.stdout.splitlines(), "what comes back")
            lines = result.stderr.splitlines()
            same(len(lines), 1, f"lines in {lines}, which")
            check("cannot be worked with" in lines[0], lines[0])
            for text in (*causes, remedy, "every call goes to its own functions"):
                check(text in lines[0], f"not in the line: {text}: {lines[0]}")
            # RTE_LOG_ERR
            check(lines[0].startswith("type 1 level 4: HOTPLUG: "), lines[0])
        same(bench.run(ours, "mode", **environment).stdout.splitlines()[-1], "mode 3",
             "rte_hotplug_mode()")

    newer, older = "use a newer librte_hotplug", "use a newer DPDK"
    changed = "use one that is built as DPDK releases it"
    for version, causes, remedy in (
            ("DPDK 99.11.0", ["99.11"], newer), ("DPDK 26.11.0-rc1", ["26.11", "26.07"], newer),
            ("DPDK 27.03.0", ["27.03"], newer), ("DPDK 19.11.0", ["19.11", "20.11"], older),
            ("DPDK 26.03.1", ["26.03", "rte_bus_find_driver"], changed),
            ("DPDK 22.11.0", ["22.11", "rte_bus_find_driver"], changed),
            ("a vendor's build", ["version", "a vendor's build"], changed)):
        @tap.case(f"\"{version}\" is not known: all calls are forwarded, with one ERR line")
        def _(version=version, causes=causes, remedy=remedy):
            forwards(causes, remedy, FAKE_VERSION=version)

    @tap.case("a needed function is missing: the same")
    def _():
        forwards(["rte_devargs_next"], changed, "-DFAKE_WITHOUT_DEVARGS_NEXT")

    @tap.case("26.07 without rte_bus_find_driver: the same")
    def _():
        forwards(["26.07", "rte_bus_find_driver"], changed, "-DFAKE_WITHOUT_FIND_DRIVER")

    @tap.case("a struct rte_bus that is laid out otherwise: the same")
    def _():
        forwards(["struct rte_bus"], changed, FAKE_WRONG="bus")

    # Seen once rte_eal_init() has returned, before which ours serves.
    for wrong, cause in (("late", "struct rte_bus"), ("device", "struct rte_device")):
        @tap.case(f"{cause} laid out otherwise, known after rte_eal_init(): the same from then on")
        def _(wrong=wrong, cause=cause):
            forwards([cause], changed, arguments=["started"], FAKE_WRONG=wrong)
            with tempfile.TemporaryDirectory(prefix="hotplug_linking_") as directory:
                forwards([cause], changed, arguments=["started"], FAKE_WRONG=wrong,
                         FAKE_DIRECTORY=directory)

    @tap.case("26.07 with its own layout is worked with")
    def _():
        ours = programs()[1]
        result = bench.run(ours, "mode")
        same((result.stdout.splitlines()[-1], result.stderr), ("mode 2", ""),
             "rte_hotplug_mode()")


def order(tap, bench):
    def built(name, front, back):
        compile_flags, link_flags = dpdk()
        libraries = {"ours": bench.ours(), "dpdk": link_flags}
        # An older C library has dladdr in a library of its own.
        return bench.build(name, "order_app.c", *compile_flags, *libraries[front],
                           *libraries[back], "-ldl")

    @tap.case("ours before DPDK: it serves, and says nothing")
    def _():
        result = bench.run(built("right", "ours", "dpdk"))
        same((result.returncode, result.stderr), (0, ""), "status and standard error")
        check("librte_hotplug.so" in result.stdout, result.stdout)

    @tap.case("DPDK before ours: one ERR line, and DPDK serves")
    def _():
        result = bench.run(built("wrong", "dpdk", "ours"))
        same(result.returncode, 0, "exit status")
        check("librte_eal.so" in result.stdout, result.stdout)
        lines = result.stderr.splitlines()
        same(len(lines), 1, f"lines in {lines}, which")
        check(lines[0].startswith(WRONG_ORDER), lines[0])

    @tap.case("LD_PRELOAD puts a wrong order right")
    def _():
        result = bench.run(built("wrong", "dpdk", "ours"), preload=True)
        same((result.returncode, result.stderr), (0, ""), "status and standard error")
        check("librte_hotplug.so" in result.stdout, result.stdout)


def plugin(tap, bench):
    served = ["plugin: mode 2", "plugin: probe 0", "plugin: ports 1", "plugin: mode 2",
              "plugin: remove 0", "plugin: ports 0", "app: mode 2", "app: device 0"]

    def run(name, *arguments):
        compile_flags, link_flags = dpdk()
        path = bench.build("plugin.so", "plugin.c", *compile_flags, "-shared", "-fPIC", *link_flags)
        app = bench.build("plugin_app", "plugin_app.c", "-ldl")
        needed = tool("readelf", "-d", "-W", app)
        check("librte_" not in needed, "the application itself must not have DPDK")
        prefix = f"hotplug_linking_{name}_{os.getpid()}"
        try:
            result = bench.run(app, path, prefix, *arguments, preload=True)
        finally:
            remove_runtime_directory(prefix)
        same(result.returncode, 0, f"exit status, with {result.stderr}")
        check("panic" not in result.stderr.lower(), result.stderr)
        return result.stdout.splitlines()

    @tap.case("a plug-in brings DPDK along: it is served over it")
    def _():
        same(run("plain"), served, "what the processes print")

    @tap.case("the same after the embedded runtime has been started: its device is gone then")
    def _():
        before = ["app: probe 0", "app: mode 1", "app: device 1"]
        same(run("embedded", "embedded"), before + served, "what the processes print")


def flavour(bench):
    """What rte_hotplug_static.pc has for the linker, and the archive where meson has built it."""
    build = os.path.dirname(bench.library)
    flags = shlex.split(tool("pkg-config", "--libs-only-other", "rte_hotplug_static",
                             env=dict(os.environ, PKG_CONFIG_PATH=f"{build}/meson-private")))
    return flags, [bench.library, "-ldl", "-lpthread", "-lm"]


def wrapped(flags):
    return sorted(flag.split("=")[1] for flag in flags if flag.startswith("-Wl,--wrap="))


def static(tap, bench):
    flags, archive = flavour(bench)

    @tap.case("what it replaces has the names of the .pc's --wrap options, the rest that of exports.txt")
    def _():
        symbols = {line.split()[-1] for line in
                   tool("nm", "--defined-only", "--extern-only", bench.library).splitlines()
                   if len(line.split()) == 3}
        replaced = sorted(name.removeprefix("__wrap_") for name in symbols
                          if name.startswith("__wrap_"))
        same(replaced, wrapped(flags), "names that are wrapped")
        with open(os.path.join(HERE, "exports.txt"), encoding="ascii") as file:
            expected = set(file.read().split())
        same(sorted(set(replaced) - expected), [], "not in exports.txt")
        same(sorted(name for name in symbols & expected), sorted(expected - set(replaced)),
             "functions with their own names")

    @tap.case("it needs nothing of DPDK")
    def _():
        undefined = {tuple(line.split()) for line in
                     tool("nm", "--undefined-only", bench.library).splitlines() if line[:1] == " "}
        kinds = {kind for kind, name in undefined
                 if re.match(r"rte_(?!hotplug)|per_lcore_|__real_", name)}
        same(kinds, {"w"}, "kinds of symbols")

    for name, *how in (("without DPDK it has the embedded runtime",),
                       ("the same without a dynamic linker", "-static")):
        @tap.case(name)
        def _(how=how):
            application = bench.build_static("alone", *how, *flags, *archive)
            result = bench.run(application, "hotplug_null0", "--no-shconf")
            same((result.returncode, result.stdout, result.stderr), (0, "mode 1, probe 0\n", ""),
                 "status and output")


def linked(tap, bench):
    flags, archive = flavour(bench)
    compile_flags, shared = dpdk()
    compile_flags += ["-DWITH_DPDK"]
    linked_in = shlex.split(tool("pkg-config", "--static", "--libs", "libdpdk"))
    # What an application needs that takes only a part of DPDK, and has to name that itself.
    some = ["bus_vdev", "mempool_ring", "net_null", "ethdev", "meter", "net", "mbuf", "mempool", "ring",
            "eal", "telemetry", "kvargs"]
    some = ["-Wl,--whole-archive", *(f"-l:librte_{name}.a" for name in some),
            "-Wl,--no-whole-archive", "-lnuma", "-lbsd", "-lmd", "-lm"]

    def run(*build, log="3"):
        application = bench.build_static("linked", *compile_flags, *build)
        return bench.run(application, "net_null0", "--no-huge", "-m", "64", "--no-pci", "--no-shconf",
                         f"--log-level={log}")

    def serves(*build):
        result = run(*build)
        same((result.returncode, result.stdout), (0, "mode 2, probe 0\n"), "status and output")
        same(hotplug_lines(result.stderr), [], "our lines")

    def complains(text, *build):
        lines = [line for line in hotplug_lines(run(*build).stderr) if "HOTPLUG: ERR:" in line]
        same(len(lines), 1, f"lines in {lines}, which")
        check(text in lines[0], lines[0])

    @tap.case("as pkg-config says: it serves, and says nothing")
    def _():
        serves(*flags, *archive, *linked_in)

    @tap.case("it reads the thread's rte_errno: EAL has no multi-process messages, and that is no error")
    def _():
        result = run(*flags, *archive, *linked_in, log="lib.hotplug:debug")
        same(hotplug_lines(result.stderr), ["HOTPLUG: vdev:net_null0: parsed, found, attached"],
             "our lines")

    @tap.case("after DPDK: it serves as well")
    def _():
        serves(*linked_in, *flags, *archive)

    @tap.case("with some of DPDK's libraries, and without unused sections: it serves")
    def _():
        serves("-Wl,--gc-sections", *flags, *archive, *some)

    @tap.case("the same without a dynamic linker")
    def _():
        serves("-static", *flags, *archive, *some)

    @tap.case("without the options: one ERR line")
    def _():
        complains("is linked without its -Wl,--wrap options", *archive, *linked_in)

    @tap.case("without one of them: the same")
    def _():
        complains("is linked without its -Wl,--wrap options",
                  *(flag for flag in flags if flag != "-Wl,--wrap=rte_mp_action_register"),
                  *archive, *linked_in)

    @tap.case("with DPDK's shared libraries: one ERR line")
    def _():
        complains("DPDK is a shared library", *flags, *archive, *shared)

    @tap.case("with what an application happens to need of DPDK: one ERR line")
    def _():
        complains("only parts of DPDK are linked", *flags, *archive,
                  *(flag for flag in linked_in if flag != "-Wl,--whole-archive"))


def main():
    parts = {"exports": exports, "processes": processes, "unknown": unknown, "order": order,
             "plugin": plugin, "static": static, "linked": linked}
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="hotplug_linking_") as directory:
        bench = Bench(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), directory)
        for part in sys.argv[3:]:
            parts[part](tap, bench)
        return tap.run()


if __name__ == "__main__":
    sys.exit(main())
