"""zgc-run, bench.py and demo.py as users meet them: what they start, and how they refuse."""

import ctypes.util
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from zgctest import LIB, main, requires_lib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ZGC_RUN = os.path.join(ROOT, "scripts", "zgc-run")
BENCH = os.path.join(ROOT, "perf", "bench.py")
DEMO = os.path.join(ROOT, "perf", "demo.py")

# The real table's format, so that the flags can be tested where nothing has been built.
TABLE = """\
ZGC_ENABLE\tbool\t1\t0 or 1\tthe kill switch
ZGC_LOG\ttext\t\ttext\ta log, with %p for the pid
ZGC_HEAP_MAX\tsize\t0\ta size\treserved range
"""


# Blocks of the RAW domain count in jemalloc's own sum for this thread.
RAW_BLOCKS = """
import ctypes, zgc
raw = ctypes.pythonapi.PyMem_RawMalloc
raw.restype, raw.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
mallctl = ctypes.CDLL(None).mallctl
def allocated():
    value, size = ctypes.c_uint64(), ctypes.c_size_t(8)
    assert mallctl(b"thread.allocated", ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)) == 0
    return value.value
before = allocated()
raw(10_000_000)
print(allocated() - before >= 10_000_000, zgc.status()["active"])
"""


def some_library():
    """Our library, or any other that can stand in for it where nothing is really started."""
    if LIB:
        return LIB
    with open("/proc/self/maps") as maps:
        return next(line.split()[-1] for line in maps if re.search(r"/libc[.-].*so", line))


def run(*command, **env):
    """Run a command without the preload of this process."""
    environment = {key: value for key, value in os.environ.items()
                   if key not in ("LD_PRELOAD", "PYTHONPATH") and not key.startswith("ZGC")}
    environment.update(env)
    return subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)


class Case(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="zgc-scripts-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def script(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def lonely(self, folder="."):
        """zgc-run and what it is made of, without anything that is built."""
        place = os.path.join(self.folder, folder)
        shutil.copytree(os.path.join(ROOT, "scripts", "zgctools"), os.path.join(place, "zgctools"),
                        ignore=shutil.ignore_patterns("__pycache__"))
        return shutil.copy(ZGC_RUN, place)

    def assert_refused(self, result, status, *phrases):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        for phrase in phrases:
            self.assertIn(phrase, result.stderr)


class ZgcRunRefusals(Case):

    def refuse(self, status, *words, phrases):
        self.assert_refused(run(ZGC_RUN, "--lib", some_library(), *words), status, *phrases)

    def test_missing_library_is_named_with_the_way_to_build_it(self):
        result = run(self.lonely(), "--", sys.executable, "-c", "pass")
        self.assert_refused(result, 2, "libzgcpreload.so not found", "cmake --build build")

    def test_missing_library_is_named_before_an_option_it_would_explain(self):
        result = run(self.lonely(), "--stats", "--", sys.executable)
        self.assert_refused(result, 2, "libzgcpreload.so not found")

    def test_library_given_by_hand_and_missing(self):
        result = run(ZGC_RUN, "--lib", "/nowhere/lib.so", "--", sys.executable)
        self.assert_refused(result, 2, "/nowhere/lib.so")

    def test_library_that_is_no_library(self):
        result = run(ZGC_RUN, "--lib", __file__, "--", sys.executable)
        self.assert_refused(result, 2, "is not a 64-bit little-endian ELF file")
        self.assertNotIn("--force", result.stderr)      # which is about the program

    def test_library_path_that_ld_preload_cannot_hold(self):
        odd = os.path.join(self.folder, "a b.so")
        shutil.copy(some_library(), odd)
        result = run(ZGC_RUN, "--lib", odd, "--", sys.executable)
        self.assert_refused(result, 2, "LD_PRELOAD cannot name")

    def test_program_that_is_no_python(self):
        self.refuse(2, "--", "ls", phrases=["ls is not a Python", "--force"])

    def test_script_that_is_no_python(self):
        self.refuse(2, "--", self.script("start", "#!/bin/sed -f\n"), phrases=["(run by /bin/sed) is not a Python"])

    def test_program_that_takes_no_preload(self):
        odd = shutil.copy("/bin/true", self.folder)
        os.chmod(odd, 0o4755)
        self.refuse(2, "--", odd, phrases=["set-user-ID", "in front of zgc-run"])

    def test_text_file_that_is_no_program(self):
        self.refuse(2, "--", self.script("notes", "just text\n"), phrases=["neither an ELF"])

    def test_damaged_program(self):
        broken = self.script("broken", "\x7fELF\x02\x01 and not much more")
        self.refuse(2, "--", broken, phrases=["is not a sound ELF file"])

    def test_script_that_runs_itself(self):
        path = os.path.join(self.folder, "loop")
        self.refuse(2, "--", self.script("loop", f"#!{path}\n"), phrases=["too many interpreters"])

    def test_program_that_is_not_there(self):
        self.refuse(127, "--", "no-such-program", phrases=["no-such-program not found"])

    def test_script_whose_interpreter_is_not_there(self):
        path = self.script("app", "#!/usr/bin/env no-such-python\n")
        self.refuse(127, "--", path, phrases=["no-such-python not found"])

    def test_program_that_cannot_be_executed(self):
        self.refuse(126, "--", "/etc/passwd", phrases=["/etc/passwd is not an executable file"])
        self.refuse(126, "--", self.script("orphan", "#!/etc/passwd\n"),
                    phrases=["orphan cannot be run: /etc/passwd is not an executable file"])

    def test_no_program(self):
        self.refuse(2, phrases=["no program given"])

    def test_unknown_option_without_a_table(self):
        result = run(self.lonely(), "--lib", some_library(), "--stats", "--", sys.executable)
        self.assert_refused(result, 2, "--stats", "zgc-options")


class ZgcRunInstalled(Case):
    """Under a prefix made by hand, laid out as `cmake --install` does it."""

    def setUp(self):
        super().setUp()
        self.script("libexec/zgcpreload/zgc-options", f"#!/bin/sh\ncat <<'EOF'\n{TABLE}EOF\n")
        self.lonely("share/zgcpreload")
        os.mkdir(os.path.join(self.folder, "bin"))
        self.zgc_run = shutil.copy(ZGC_RUN, os.path.join(self.folder, "bin"))
        self.library = os.path.join(self.folder, "lib", "some-machine", "libzgcpreload.so")
        os.makedirs(os.path.dirname(self.library))
        shutil.copy(some_library(), self.library)

    def show(self, *words, **env):
        result = run(self.zgc_run, "--show", *words, **env)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_finds_the_library_of_its_prefix(self):
        self.assertEqual(self.show("--", sys.executable, "app.py"),
                         f"LD_PRELOAD={self.library} {sys.executable} app.py\n")

    def test_works_through_a_symbolic_link(self):
        link = os.path.join(self.folder, "link")
        os.symlink(self.zgc_run, link)
        self.assertIn(self.library, run(link, "--show", sys.executable).stdout)

    def test_existing_preload_stays_in_front(self):
        shown = self.show("--", sys.executable, LD_PRELOAD="libm.so.6")
        self.assertIn(f"LD_PRELOAD=libm.so.6:{self.library} ", shown)

    def test_malloc_comes_first(self):
        other = self.script("lib/libother.so", "")
        shown = self.show("--malloc", other, sys.executable, LD_PRELOAD="libm.so.6")
        self.assertIn(f"LD_PRELOAD={other}:libm.so.6:{self.library} ", shown)

    def test_malloc_that_is_not_installed(self):
        result = run(self.zgc_run, "--malloc", "nosuchmalloc", "--", sys.executable)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("libnosuchmalloc is not installed", result.stderr)

    def test_library_is_named_once(self):
        shown = self.show("--", sys.executable, LD_PRELOAD=self.library)
        self.assertEqual(shown.count("libzgcpreload.so"), 1)

    def test_flags_become_variables(self):
        shown = self.show("--heap-max", "2G", "--no-enable", "--log", "a b.log", sys.executable)
        for setting in ("ZGC_HEAP_MAX=2G", "ZGC_ENABLE=0", "ZGC_LOG='a b.log'"):
            self.assertIn(setting, shown)

    def test_flags_not_given_set_nothing(self):
        self.assertNotIn("ZGC_", self.show("--", sys.executable))

    def test_options_behind_the_program_are_its_own(self):
        shown = self.show(sys.executable, "-c", "pass", "--", "--enable", "--no-such")
        self.assertTrue(shown.endswith("-c pass -- --enable --no-such\n"), shown)
        self.assertNotIn("ZGC_", shown)

    def test_unknown_option(self):
        result = run(self.zgc_run, "--stat", "--", sys.executable)
        self.assert_refused(result, 2, "there is no option --stat;", "--help")

    def test_option_without_its_value(self):
        self.assert_refused(run(self.zgc_run, "--heap-max"), 2, "--heap-max", "expected one")

    def test_help_shows_the_table(self):
        text = " ".join(run(self.zgc_run, "--help").stdout.split())
        self.assertIn("--enable, --no-enable the kill switch (0 or 1; default: 1)", text)
        self.assertIn("--log TEXT a log, with %p for the pid (text; default: unset)", text)
        self.assertIn("examples:", text)

    def test_scripts_of_every_kind_lead_to_their_python(self):
        for first_lines in (
                f"#!{sys.executable}\n",
                f"#!/usr/bin/env {sys.executable}\n",
                f"#!/usr/bin/env -S SOME=1 {sys.executable} -u\n",
                f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"):
            with self.subTest(first_lines):
                self.assertIn(self.library, self.show(self.script("app", first_lines)))

    def test_virtual_environment(self):
        venv = os.path.join(self.folder, "venv")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        self.assertIn(self.library, self.show(os.path.join(venv, "bin", "python")))

    def test_launchers_need_no_force(self):
        python = sys.executable
        wrapper = self.script("start", '#!/bin/sh\nexec python3 "$@"\n')
        for command in ((wrapper,), ("sh", "-c", python), ("bash", "-c", python), ("env", "A=1", python),
                        ("timeout", "9", python), ("nice", python), (self.script("uv", "\x7fELF"), "run", "app.py"),
                        (self.script("poetry", f"#!{python}\n"), "run", "app.py")):
            with self.subTest(command):
                self.assertTrue(self.show("--", *command).startswith(f"LD_PRELOAD={self.library} "))

    def test_program_of_pyinstaller(self):
        program = shutil.copy("/bin/true", self.folder)
        with open(program, "ab") as file:
            file.write(b"archive MEI\014\013\012\013\016 and its table")
        self.assertIn(self.library, self.show("--", program))

    def test_force_starts_anything(self):
        self.assertIn(self.library, self.show("--force", "--", "ls"))


@requires_lib
class ZgcRunForReal(Case):

    STATUS = "import json, zgc; print(json.dumps(zgc.status()))"

    def status(self, *options):
        result = run(ZGC_RUN, "--lib", LIB, *options, "--", sys.executable, "-c", self.STATUS)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_program_runs_under_the_library(self):
        self.assertTrue(self.status()["active"])

    def test_malloc_is_the_one_behind_the_heap(self):
        jemalloc = ctypes.util.find_library("jemalloc")
        if not jemalloc:
            self.skipTest("needs jemalloc (Debian: libjemalloc2)")
        result = run(ZGC_RUN, "--lib", LIB, "--malloc", "jemalloc", "--", sys.executable, "-c", RAW_BLOCKS)
        self.assertEqual((result.returncode, result.stdout), (0, "True True\n"), result.stderr)

    def test_launchers_hand_it_on(self):
        code = 'import zgc; print(zgc.status()["active"])'
        for launcher in (["env", "A=1"], ["timeout", "60"], ["nice", "-n", "1"], ["sh", "-c", 'exec "$0" "$@"']):
            with self.subTest(launcher):
                result = run(ZGC_RUN, "--lib", LIB, "--", *launcher, sys.executable, "-c", code)
                self.assertEqual((result.returncode, result.stdout), (0, "True\n"), result.stderr)

    def test_exit_status_is_the_programs(self):
        result = run(ZGC_RUN, "--lib", LIB, "--", sys.executable, "-c", "raise SystemExit(7)")
        self.assertEqual(result.returncode, 7)

    def test_every_row_of_the_real_table_is_a_flag(self):
        table = os.path.join(os.path.dirname(LIB), "zgc-options")
        if not os.access(table, os.X_OK):
            self.skipTest("no zgc-options beside the library")
        os.mkdir(os.path.join(self.folder, "build"))
        shutil.copy(table, os.path.join(self.folder, "build"))
        zgc_run = self.lonely("scripts")
        text = run(zgc_run, "--help").stdout
        for line in run(table).stdout.splitlines():
            name = line.split("\t")[0]
            self.assertRegex(text, rf"--{name[4:].lower().replace('_', '-')}\b")

    def test_bad_value_is_named_and_the_program_runs_on(self):
        result = run(sys.executable, "-c", "print('ran')", LD_PRELOAD=LIB, ZGC_TRIGGER="abc")
        self.assertEqual((result.returncode, result.stdout), (0, "ran\n"))
        self.assertIn("ZGC_TRIGGER=abc", result.stderr)


class Bench(Case):

    SMALL = ("--rounds", "1", "--objects", "20k", "--seconds", "0.3", "--python", sys.executable)

    def test_list_names_benchmarks_and_targets(self):
        result = run(BENCH, "list")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?m)^live-3m ")
        self.assertIn("gc_pause_max_ms <= 1", result.stdout)

    def test_unknown_benchmark(self):
        self.assert_refused(run(BENCH, "run", "nope"), 1, "no benchmark named nope", "live-3m")

    def test_missing_library(self):
        result = run(BENCH, "run", "young", "--python", sys.executable, "--lib", "/nowhere/lib.so")
        self.assert_refused(result, 1, "no library at /nowhere/lib.so")

    def test_missing_python(self):
        result = run(BENCH, "run", "young", "--python", "/nowhere/python", "--lib", some_library())
        self.assert_refused(result, 1, "/nowhere/python")

    def test_crashed_run_is_shown_with_its_error_output(self):
        dying = self.script("python", "#!/bin/sh\necho about to die >&2\nkill -SEGV $$\n")
        result = run(BENCH, "run", "young", *self.SMALL, "--python", dying,
                     "--lib", some_library())
        self.assertEqual(result.returncode, 1)
        self.assertIn("FAILED: round 1 stock: killed by SIGSEGV", result.stdout)
        self.assertIn("FAILED: round 1 preload: killed by SIGSEGV", result.stdout)
        self.assertIn("| about to die", result.stdout)
        self.assertIn("2 runs failed", result.stdout)

    def test_hanging_run_is_ended(self):
        hanging = self.script("python", "#!/bin/sh\nexec sleep 100\n")
        result = run(BENCH, "run", "young", *self.SMALL, "--python", hanging,
                     "--lib", some_library(), "--timeout", "0.2")
        self.assertIn("not done after 0.2 s, killed", result.stdout)

    def test_side_without_the_collector_is_a_failed_run(self):
        fake = shutil.copy(some_library(), os.path.join(self.folder, "libfake.so"))
        result = run(BENCH, "run", "young", *self.SMALL, "--lib", fake, ZGC_ENABLE="0")
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, "FAILED: round 1 preload: the library was (not|pass)")

    @requires_lib
    def test_pair_is_compared(self):
        report = os.path.join(self.folder, "report.json")
        result = run(BENCH, "run", "young", "alloc", *self.SMALL, "--lib", LIB, "--json", report)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        with open(report) as file:
            document = json.load(file)
        self.assertEqual([bench["name"] for bench in document["benches"]], ["young", "alloc"])
        for bench in document["benches"]:
            for row in bench["rows"]:
                self.assertIsNotNone(row["stock"], row)
                self.assertIsNotNone(row["preload"], row)

    @requires_lib
    def test_markdown(self):
        result = run(BENCH, "run", "startup", *self.SMALL, "--lib", LIB, "--markdown")
        self.assertRegex(result.stdout, r"(?m)^\| startup_ms \| [\d.]+ \| [\d.]+ \| [\d.]+ \|")


class Commands(unittest.TestCase):

    def test_every_script_can_be_started_by_its_name(self):
        for folder in (".ci", "scripts", "perf", "tests"):
            for path in glob.glob(os.path.join(ROOT, folder, "**", "*"), recursive=True):
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        script = file.read(2) == b"#!"
                    if script:
                        self.assertTrue(os.access(path, os.X_OK), f"{path} is not executable")


class Demo(Case):

    def test_missing_library(self):
        self.assert_refused(run(DEMO, "--lib", "/nowhere/lib.so"), 1, "no library at /nowhere")

    @requires_lib
    def test_prints_one_table_and_a_sentence(self):
        result = run(DEMO, "--lib", LIB, "--objects", "20k", "--steps", "2k",
                     "--python", sys.executable)
        self.assertEqual(result.returncode, 0, result.stderr)
        for row in ("longest step", "longest GC pause", "peak memory", "objects collected"):
            self.assertEqual(result.stdout.count(row), 1)
        self.assertTrue(result.stdout.rstrip().endswith("."), result.stdout)


if __name__ == "__main__":
    main()
