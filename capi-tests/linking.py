#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How librte_hotplug gets into a process, and what it does there before anything else.

    linking.py LIBRTE_HOTPLUG.SO INCLUDE_DIR PART...
    linking.py LIBRTE_HOTPLUG_STATIC.A INCLUDE_DIR PART...

The parts: exports (the symbol table), processes (programs that have nothing to do with DPDK),
unknown (a DPDK that it does not know), reload (dlopen and dlclose), addresses (with and without
randomisation), and with DPDK's libraries order, plugin, inside (EAL in the program itself) and paths
of test programs (run with an EAL whose own calls no other library can take); of the other flavour
static, and with DPDK's libraries linked.
"""

import collections
import errno
import functools
import os
import re
import shlex
import shutil
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

    for what in ("ls /proc/self/task | wc -l", "ls /proc/self/fd", "ulimit -a", "trap",
                 "grep -E '^(Sig|Shd|Threads|FDSize|NoNewPrivs|Seccomp)' /proc/self/status"):
        @tap.case(f"LD_PRELOAD does not show in: {what}")
        def _(what=what):
            plain, preloaded = (bench.run("sh", "-c", what, preload=on) for on in (False, True))
            same((preloaded.stdout, preloaded.stderr), (plain.stdout, plain.stderr), "output")

    @tap.case("loading makes no system call but those of the linker, and leaving makes none")
    def _():
        if shutil.which("strace") is None:
            missing("strace is not installed")

        def calls(*environment):
            trace = tool("strace", "-f", "-qq", "-o", "/dev/stdout", *environment, "true")
            # Memory that the linker or malloc asks for is as large as it is.
            return [line.split("(")[0].split()[-1] for line in trace.splitlines()
                    if "+++" not in line and "arch_prctl" not in line]
        more = collections.Counter(calls("-E", f"LD_PRELOAD={bench.library}"))
        more.subtract(collections.Counter(calls("-E", "LD_PRELOAD")))
        linkers = {"access", "openat", "read", "pread64", "fstat", "newfstatat", "mmap", "mprotect",
                   "munmap", "close"}
        # For malloc's first memory: the linker's list of what is to be initialised may be longer.
        same({name for name, count in more.items() if count > 0} - linkers - {"brk"}, set(),
             "system calls that are made in addition")

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


USED_TWICE = ["same 1", "mode {mode}", "probe 0", "remove 0", "probe 0", "register 0", "monitor 0",
              "close 0", "probe 0"] * 2 + ["told 2"]


def used_twice(mode):
    return [line.format(mode=mode) for line in USED_TWICE]


def reload(tap, bench):
    for visibility in ("local", "global"):
        @tap.case(f"opened, used, closed while threads run, and the same again: {visibility}")
        def _(visibility=visibility):
            program = bench.build("use_twice", "use_twice.c", "-ldl")
            result = bench.run(program, bench.library, visibility)
            same((result.returncode, result.stderr), (0, ""), "status and standard error")
            same(result.stdout.splitlines(), used_twice(1), "what comes back")

        @tap.case(f"a second copy hands calls on to the first, and says so: {visibility}")
        def _(visibility=visibility):
            program = bench.build("use_twice", "use_twice.c", "-ldl")
            copy = shutil.copy(bench.library, os.path.join(bench.directory, "a_copy.so"))
            result = bench.run(program, copy, visibility, preload=True)
            same(result.returncode, 0, "exit status")
            same(result.stdout.splitlines(), used_twice(3), "what comes back")
            lines = result.stderr.splitlines()
            same(len(lines), 1, f"lines in {lines}, which")
            check("loaded twice" in lines[0], lines[0])

    @tap.case("LD_PRELOAD of another file than the linked one: there is one copy")
    def _():
        folder = os.path.join(bench.directory, "elsewhere")
        os.makedirs(folder, exist_ok=True)
        copy = shutil.copy(bench.library, folder)
        app = bench.build("linked", "use_twice.c", *bench.ours(), "-ldl")
        result = bench.run(app, "none", "local", LD_PRELOAD=copy, LD_DEBUG="files")
        loaded = set(re.findall(r"calling init: (\S*librte_hotplug\S*)", result.stderr))
        same(loaded, {copy}, "libraries that were loaded")


def addresses(tap, bench):
    for kind in ("-pie", "-no-pie"):
        for randomised in (True, False):
            @tap.case(f"{kind}, addresses {'randomised' if randomised else 'fixed'}")
            def _(kind=kind, randomised=randomised):
                compiled = "-fPIE" if kind == "-pie" else "-fno-pie"
                program = bench.build("use_twice" + kind, "use_twice.c", compiled, kind, "-ldl")
                command = [program, bench.library, "local"]
                if not randomised:
                    command = ["setarch", "-R", *command]
                for preload in (False, True):
                    result = bench.run(*command, preload=preload)
                    same((result.returncode, result.stderr), (0, ""), "status and standard error")
                    same(result.stdout.splitlines(), used_twice(1), "what comes back")


def order(tap, bench):
    def built(name, front, back, *flags):
        compile_flags, link_flags = dpdk()
        libraries = {"ours": bench.ours(), "dpdk": link_flags}
        # An older C library has dladdr in a library of its own.
        return bench.build(name, "order_app.c", *compile_flags, *flags, *libraries[front],
                           *libraries[back], "-ldl")

    @tap.case("ours before DPDK: it serves, and says nothing")
    def _():
        result = bench.run(built("right", "ours", "dpdk"))
        same((result.returncode, result.stderr), (0, ""), "status and standard error")
        check("librte_hotplug.so" in result.stdout, result.stdout)

    # Such a program has an address of its own for a function whose address it takes.
    @tap.case("the same at a fixed address")
    def _():
        result = bench.run(built("fixed", "ours", "dpdk", "-no-pie", "-fno-pie"))
        same((result.returncode, result.stderr), (0, ""), "status and standard error")

    @tap.case("DPDK before ours at a fixed address: one ERR line")
    def _():
        result = bench.run(built("fixed_wrong", "dpdk", "ours", "-no-pie", "-fno-pie"))
        same(result.returncode, 0, "exit status")
        lines = result.stderr.splitlines()
        check(len(lines) == 1 and lines[0].startswith(WRONG_ORDER), lines)

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


    @tap.case("opened by an application of DPDK: one ERR line, and DPDK serves")
    def _():
        compile_flags, link_flags = dpdk()
        app = bench.build("opens", "order_app.c", *compile_flags, *link_flags, "-ldl")
        result = bench.run(app, bench.library)
        same(result.returncode, 0, "exit status")
        check("librte_eal.so" in result.stdout, result.stdout)
        lines = result.stderr.splitlines()
        same(len(lines), 1, f"lines in {lines}, which")
        check(lines[0].startswith(WRONG_ORDER), lines[0])


def archives():
    """The static libraries of EAL, and what they need."""
    folder = tool("pkg-config", "--variable=libdir", "libdpdk").strip()
    files = [os.path.join(folder, f"librte_{name}.a") for name in ("eal", "telemetry", "kvargs")]
    if not all(map(os.path.exists, files)):
        missing("DPDK's static libraries are not installed")
    # Libraries of their own in newer versions.
    newer = [os.path.join(folder, f"librte_{name}.a") for name in ("log", "argparse")]
    files += filter(os.path.exists, newer)
    private = ["-lnuma", "-lfdt", "-lbsd", "-lm", "-ldl", "-pthread"]
    return folder, files, private


def inside(tap, bench):
    def run(name, *flags):
        compile_flags, _ = dpdk()
        _, files, private = archives()
        app = bench.build(name, "inside_app.c", *compile_flags, *flags, "-Wl,--whole-archive", *files,
                          "-Wl,--no-whole-archive", *private)
        check("librte_" not in tool("readelf", "-d", "-W", app), "DPDK must be inside of it")
        prefix = f"hotplug_inside_{os.getpid()}"
        try:
            result = bench.run(app, prefix, preload=True)
        finally:
            remove_runtime_directory(prefix)
        same(result.returncode, 0, f"exit status, with {result.stderr}")
        return result.stdout.splitlines(), [line for line in result.stderr.splitlines()
                                            if "HOTPLUG: ERR" in line]

    @tap.case("EAL inside of the program, exported: one ERR line at the start, and EAL serves")
    def _():
        shown, lines = run("exported", "-rdynamic")
        check(any("linked statically into the program" in line for line in lines[:1]), lines)
        check("program: probe -14" not in shown[1:], shown)
        same(shown[1], "library: mode 2", "what the library works on")

    @tap.case("EAL inside of the program, hidden: no second runtime beside it")
    def _():
        shown, lines = run("hidden")
        same(shown[1:], [f"library: mode {-errno.ENOTSUP}", f"library: probe {-errno.ENOTSUP}"],
             "what the library does")
        same(len(lines), 1, f"lines in {lines}, which")
        check("cannot be reached" in lines[0], lines[0])


def symbolic(tap, bench, programs):
    def eal(how):
        """EAL with Debian's versions of symbols, its calls of itself bound."""
        libdir, files, private = archives()
        listed = tool("nm", "-D", "--defined-only",
                      os.path.realpath(os.path.join(libdir, "librte_eal.so")))
        nodes = collections.defaultdict(list)
        for name in (line.split()[-1] for line in listed.splitlines()):
            symbol, _, node = name.partition("@")
            if node:
                nodes[node.lstrip("@")].append(symbol)
        folder = os.path.join(bench.directory, how)
        os.makedirs(folder, exist_ok=True)
        versions = os.path.join(folder, "versions")
        with open(versions, "w", encoding="ascii") as file:
            for node, symbols in nodes.items():
                others = "" if node in ("EXPERIMENTAL", "INTERNAL") else "local: *;"
                file.write(f"{node} {{ global: {'; '.join(symbols)}; {others} }};\n")
        soname = os.path.basename(os.path.realpath(os.path.join(libdir, "librte_eal.so")))
        soname = re.sub(r"(\.so\.\d+).*", r"\1", soname)
        path = os.path.join(folder, soname)
        tool(*shlex.split(os.environ.get("CC", "cc")), "-shared", "-o", path, f"-Wl,-{how}",
             f"-Wl,-soname,{soname}", f"-Wl,--version-script={versions}", "-Wl,--whole-archive",
             files[0], "-Wl,--no-whole-archive", "-lrte_kvargs", "-lrte_telemetry", *private)
        bound = tool("readelf", "-r", "-W", path)
        check("rte_mp_action_register" not in bound, "its own calls can still be taken")
        return folder

    for how in ("Bsymbolic", "Bsymbolic-functions"):
        for program in programs:
            @tap.case(f"an EAL linked with -{how}: {os.path.basename(program)}")
            def _(how=how, program=program):
                folder = eal(how)
                command = [program]
                if os.path.basename(program) == "test-group":
                    peer = os.path.join(os.path.dirname(program), "peer-dpdk")
                    command += ["hosted", peer, bench.library]
                result = bench.run(*command, LD_LIBRARY_PATH=folder, GROUP_ONLY="all")
                same(result.returncode, 0, f"exit status, with {result.stdout}")
                check("\nok 1 " in result.stdout, result.stdout)
                # Those of a group have logs of their own.
                same(result.stderr.count("calls its own functions directly"),
                     result.stderr.count("EAL: Detected CPU lcores"), "our lines")


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

    @tap.case("the plug-in is closed while DPDK runs: it goes on")
    def _():
        after = ["app: close 0"] + ["app: probe 0", "app: remove 0"] * 2 + ["app: cleanup 0"]
        same(run("closed", "close"), served[:6] + after + served[6:], "what the processes print")

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
    parts = {"exports": exports, "processes": processes, "unknown": unknown, "reload": reload,
             "addresses": addresses, "order": order, "plugin": plugin, "inside": inside,
             "static": static, "linked": linked}
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="hotplug_linking_") as directory:
        bench = Bench(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), directory)
        for part in sys.argv[3:]:
            if part not in parts:
                symbolic(tap, bench, [os.path.abspath(part)])
            else:
                parts[part](tap, bench)
        return tap.run()


if __name__ == "__main__":
    sys.exit(main())
