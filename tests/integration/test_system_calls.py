"""Which system calls the library makes, against filters that a program puts over itself (docs/system-calls.md)."""

import platform
import sys
import unittest

from zgctest import main, requires_lib, run

# x86-64's numbers. What stock CPython itself calls in a program that computes ...
STOCK = dict(read=0, write=1, open=2, close=3, stat=4, fstat=5, lseek=8, mmap=9, mprotect=10, munmap=11, brk=12,
             rt_sigaction=13, rt_sigreturn=15, ioctl=16, mremap=25, getpid=39, exit=60, gettid=186, futex=202,
             clock_gettime=228, exit_group=231, openat=257, newfstatat=262, getrandom=318)
if sys.version_info >= (3, 15):
    STOCK["madvise"] = 28      # huge pages for pymalloc's arenas
# ... and to start (the processors are 3.14's).
START = dict(rt_sigprocmask=14, pread64=17, access=21, execve=59, uname=63, fcntl=72, getcwd=79, readlink=89,
             sysinfo=99, getuid=102, getgid=104, geteuid=107, getegid=108, arch_prctl=158, sched_getaffinity=204,
             getdents64=217, set_tid_address=218, set_robust_list=273, prlimit64=302, prctl=157, rseq=334)
# Of the table, what is not among those.
OURS = dict(madvise=28, clone=56, unlink=87, fchmod=91, kill=62, mkdirat=258, unlinkat=263, renameat=264, fallocate=285, process_vm_readv=310,
            clone3=435)
KILL, REFUSE = 0x80000000, 0x00050001       # the process; with EPERM

RESTRICT = """
    import ctypes, gc, os, struct, sys
    def restrict(numbers, otherwise):
        instruction = lambda code, true, false, k: struct.pack("HBBI", code, true, false, k)
        program = [instruction(0x20, 0, 0, 0)]                          # load the number
        for number in numbers:
            program += [instruction(0x15, 0, 1, number), instruction(0x06, 0, 0, 0x7fff0000)]
        program.append(instruction(0x06, 0, 0, otherwise))
        text = ctypes.create_string_buffer(b"".join(program))
        class Program(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
        described = Program(len(program), ctypes.addressof(text))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)                                      # no new privileges
        if libc.prctl(22, 2, ctypes.byref(described), 0, 0) != 0:
            print("not permitted", ctypes.get_errno())
            sys.exit()
    def work(count):
        kept = []
        for i in range(count):
            a = [i]
            a.append({"a": a})
            if i % 2: kept.append(a)
        return kept
"""
SMALL = """
    work(2000)
    gc.collect()
    os.write(1, b"done\\n")
"""
LARGE = """
    kept = work(60000)
    del kept
    gc.collect()
    kept = work(60000)
    gc.collect()
    os.write(1, b"done\\n")
"""


# The filter is there before the library: who starts another program under one chose it for that program.
START_ANOTHER = """
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
COLLECT = """
import gc, os
def work(count):
    kept = []
    for i in range(count):
        a = [i]
        a.append({"a": a})
        kept.append(a)
for _ in range(4):
    work(50000)
    gc.collect()
"""
IS_OURS = """
import zgc
zgc.collect()
stats = zgc.stats()
assert stats["collections"] > 0 and stats["old_objects"] > 0, stats
assert os.path.exists(zgc.status()["statpage"])
"""
DONE = """
os.write(1, b"done\\n")
"""


@requires_lib
@unittest.skipUnless(platform.machine() == "x86_64", "the numbers are x86-64's")
class Filters(unittest.TestCase):
    def run_under(self, allowed, otherwise, code, *argv, preload=True, before=""):
        restrict = f"    restrict({sorted(allowed.values())}, {otherwise:#x})\n"
        done = run(RESTRICT + before + restrict + code, *argv, flags=(), preload=preload, status=None,
                   options={"STRESS": 0, "VERIFY": 0})
        if "not permitted" in done.out:
            self.skipTest("no seccomp filter can be installed here")
        self.assertEqual((done.status, done.out), (0, "done\n"), done.describe())
        return done

    def test_a_small_program_makes_stocks_calls_only(self):
        self.run_under(STOCK, KILL, SMALL, preload=False)   # or the list is not stock's here
        self.run_under(STOCK, KILL, SMALL)

    def test_a_large_program_that_has_restricted_itself_is_cpythons(self):
        self.run_under(STOCK, KILL, LARGE, preload=False)
        done = self.run_under(STOCK, KILL, LARGE)
        self.assertEqual(done.log.count("seccomp filter"), 1, done.log)

    def test_calls_are_refused_after_the_collector_took_part(self):
        before = "    kept = work(60000)\n    gc.collect()\n    import zgc; zgc.collect()\n"
        self.run_under(STOCK, REFUSE, LARGE, before=before)
        # Who is waited for is not asked by other calls than stock's.
        self.run_under({**STOCK, "madvise": 28}, KILL, LARGE, before=before)

    def test_the_table_is_complete(self):
        self.run_under({**STOCK, **START}, KILL, START_ANOTHER, COLLECT + DONE, preload=False)
        self.run_under({**STOCK, **START, **OURS}, KILL, START_ANOTHER, COLLECT + IS_OURS + DONE)

    def test_all_of_the_table_refused(self):
        self.run_under({**STOCK, **START}, REFUSE, START_ANOTHER, COLLECT + DONE)


if __name__ == "__main__":
    main()
