"""The table of test suites: what to install and what to run, for people and for zgc-compat.

On Debian's interpreter a suite comes from Debian packages, elsewhere from PyPI into a virtual
environment of zgc-compat's own. `source` names a source distribution on PyPI whose tests are run
where the installed package has none. `arguments` follow the interpreter; {xml} is where a JUnit
report goes, {site} where the first of `modules` is installed, {source} the unpacked distribution,
{apps} our own programs in tests/apps. With `source` the tests run in that folder. A long suite has
`parts`, each a process with a result of its own: an interrupted run goes on after those that ended."""

import os
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
APPS = os.path.join(ROOT, 'tests', 'apps')
PYTEST = '-m pytest -q -p no:cacheprovider --junitxml={xml}'.split()
SCIPY = '''
import sys, scipy.sparse.csgraph as a, scipy.spatial as b
ok = [m.test(extra_argv=["-p", "no:cacheprovider", "--junitxml=" + x])
      for m, x in ((a, sys.argv[1]), (b, sys.argv[1] + ".2.xml"))]
sys.exit(not all(ok))'''
NUMPY = '''
import sys, numpy
sys.exit(not numpy.test(label="fast",
                        extra_argv=["-p", "no:cacheprovider", "--continue-on-collection-errors",
                                    "--junitxml=" + sys.argv[1]]))'''
TEST_TOOLS = 'pytest==9.2.0'


class Suite(NamedTuple):
    about: str
    arguments: list
    modules: str            # what must be importable
    minutes: int            # when to give up, on a quiet machine
    debian: str = ''        # packages
    pypi: str = ''          # requirements
    source: str = ''        # requirement, and the folders of it that are needed
    folders: str = 'tests pyproject.toml'
    minor: int = 0          # only on this 3.minor: there is no package for others
    parts: dict = {}        # name: patterns of paths in `source`, which take the place of {part}


SUITES = {
    'networkx': Suite(
        'graph algorithms, pure Python', [*PYTEST, '--pyargs', 'networkx'], 'networkx pytest', 15,
        debian='python3-networkx python3-pytest', pypi=f'networkx==3.6.1 {TEST_TOOLS}'),
    'sympy': Suite(
        'core and polys: pure Python, many cycles',
        [*PYTEST, '--pyargs', 'sympy.core', 'sympy.polys'], 'sympy pytest', 20,
        debian='python3-sympy python3-pytest', pypi=f'sympy==1.14.0 {TEST_TOOLS}'),
    'numpy': Suite(
        'its fast tests', ['-c', NUMPY, '{xml}'], 'numpy pytest hypothesis', 30,
        debian='python3-numpy python3-pytest python3-hypothesis python3-typing-extensions',
        pypi=f'numpy==2.5.5 hypothesis==6.170.17 typing_extensions==4.16.0 {TEST_TOOLS}'),
    'scipy': Suite(
        'csgraph and spatial', ['-c', SCIPY, '{xml}'], 'scipy pytest', 10,
        debian='python3-scipy python3-pytest'),
    'pandas': Suite(
        'groupby',
        [*PYTEST, '--rootdir={site}/pandas', '--confcutdir={site}/pandas', '--skip-slow',
         '--skip-network', '-W', 'ignore', '{site}/pandas/tests/groupby'],
        'pandas pytest hypothesis', 15,
        debian='python3-pandas python3-pytest python3-hypothesis'),
    'pandas3': Suite(
        'groupby, merge and frame methods of pandas 3',
        [*PYTEST, '--rootdir={site}/pandas', '--confcutdir={site}/pandas', '-W', 'ignore',
         '-m', 'not slow and not network and not single_cpu', '{site}/pandas/tests/groupby',
         '{site}/pandas/tests/reshape/merge', '{site}/pandas/tests/frame/methods'],
        'pandas pytest hypothesis', 30,
        pypi=f'pandas==3.1.1 numpy==2.5.5 hypothesis==6.170.17 {TEST_TOOLS}'),
    'tornado': Suite(
        'web server and event loop', ['-m', 'tornado.test.runtests', '--verbose'], 'tornado', 10,
        debian='python3-tornado'),
    'dask': Suite(
        'bag and the scheduler', [*PYTEST, '--pyargs', 'dask.bag', 'dask.tests'], 'dask pytest', 20,
        debian='python3-dask python3-pytest'),
    'pydantic': Suite(
        'all but the type checkers\' tests',
        [*PYTEST, '-o', 'addopts=', '-W', 'ignore', 'tests', '--ignore=tests/mypy',
         '--ignore=tests/typechecking', '--ignore=tests/benchmarks', '--ignore=tests/pyodide',
         '--ignore=tests/test_docs.py'],
        'pydantic dirty_equals pytest_mock', 15,
        pypi=f'pydantic[email]==2.14.4 {TEST_TOOLS} dirty-equals pytest-mock jsonschema pytz faker '
             'packaging time-machine pytest-examples pytest-run-parallel pytest-benchmark',
        source='pydantic==2.14.4'),
    'sqlalchemy': Suite(
        'ORM, base, engine and extensions on SQLite',
        [*PYTEST, '-o', 'addopts=', '-W', 'ignore', '{part}',
         '--ignore=test/ext/mypy', '--ignore=test/base/test_examples.py'],
        'sqlalchemy pytest', 20,
        pypi=f'SQLAlchemy[aiosqlite]==2.1.9 {TEST_TOOLS}', source='SQLAlchemy==2.1.9',
        folders='test lib/sqlalchemy/testing/plugin pyproject.toml setup.cfg',
        parts={'base': 'test/base test/engine test/ext',
               'orm-folders': 'test/orm/declarative test/orm/dml test/orm/inheritance',
               'orm-a-d': 'test/orm/test_[a-d]*.py', 'orm-e-l': 'test/orm/test_[e-l]*.py',
               'orm-m-q': 'test/orm/test_[m-q]*.py',
               # Without test_tstring_py314.py, which older interpreters cannot parse.
               'orm-r-z': 'test/orm/test_[rsu-z]*.py test/orm/test_t[!s]*.py'}),
    'django': Suite(
        'ORM, templates, forms, requests and signals on SQLite',
        ['{source}/tests/runtests.py', '--parallel=1', '--verbosity=2', 'queries', 'basic', 'lookup',
         'many_to_many', 'many_to_one', 'model_fields', 'model_forms', 'forms_tests', 'annotations',
         'aggregation', 'prefetch_related', 'select_related', 'template_tests', 'requests_tests',
         'signals', 'dispatch', 'serializers', 'admin_views', 'handlers', 'async', 'delete'],
        'django', 30,
        pypi='Django==6.1.3 jinja2==3.1.6 PyYAML docutils tblib', source='Django==6.1.3',
        folders='tests'),
    'aiohttp': Suite(
        # Without faulthandler: its dump after 30 s walks running threads, which can crash stock.
        'client, server, parser, web sockets',
        [*PYTEST, '-p', 'no:faulthandler', '-o', 'addopts=', '-W', 'ignore',
         '-m', 'not dev_mode and not internal', 'tests', '--ignore=tests/autobahn',
         '--ignore=tests/test_benchmarks_client.py', '--ignore=tests/test_proxy_functional.py'],
        'aiohttp pytest', 20,
        pypi=f'aiohttp==3.14.5 {TEST_TOOLS} freezegun pytest-mock pytest-timeout trustme isal '
             'zlib_ng re-assert blockbuster pytest-xdist pytest-cov pytest_codspeed uvloop==0.23.0 '
             'proxy.py brotli aiodns',
        source='aiohttp==3.14.5', folders='tests pytest.ini setup.cfg pyproject.toml examples'),
    'fastapi': Suite(
        'all', [*PYTEST, '-o', 'addopts=', '-W', 'ignore', 'tests',
                '--ignore=tests/benchmarks'],
        'fastapi pytest httpx', 20,
        pypi=f'fastapi[all]==0.165.0 {TEST_TOOLS} httpx dirty-equals inline-snapshot sqlmodel '
             'flask PyJWT pwdlib[argon2] anyio[trio] a2wsgi strawberry-graphql pytest-timeout',
        source='fastapi==0.165.0', folders='tests docs_src pyproject.toml scripts'),
    'orjson': Suite(
        'all', [*PYTEST, 'test'], 'orjson pytest', 10,
        pypi=f'orjson==3.13.0 numpy==2.5.5 {TEST_TOOLS} faker psutil pytz pendulum',
        source='orjson==3.13.0', folders='test'),
    'uvloop': Suite(
        'all', [*PYTEST, '-o', 'addopts=', 'tests', '--ignore=tests/test_sourcecode.py'],
        'uvloop pytest', 20,
        pypi=f'uvloop==0.23.0 aiohttp==3.14.5 pyOpenSSL psutil {TEST_TOOLS}',
        source='uvloop==0.23.0', folders='tests'),
    'protobuf': Suite(
        'our program: messages, their parts, rings through them',
        ['{apps}/protobuf_messages.py'], 'google.protobuf', 10, pypi='protobuf==7.36.2'),
    'lxml': Suite(
        'our program: trees behind proxies, functions called from libxml2, rings through parsers',
        ['{apps}/lxml_documents.py'], 'lxml.etree', 10, pypi='lxml==6.1.3'),
    'service': Suite(
        'our program: FastAPI, pydantic, SQLAlchemy, orjson and uvloop under load',
        ['{apps}/web_service.py'], 'fastapi sqlalchemy httpx orjson uvloop', 10,
        pypi='fastapi==0.165.0 SQLAlchemy==2.1.9 orjson==3.13.0 uvloop==0.23.0 httpx'),
    'torch': Suite(
        'our program: a training loop, forked workers, rings of tensors',
        ['{apps}/torch_training.py'], 'torch numpy', 20, pypi='torch==2.13.0 numpy', minor=11),
}

# Differences that are meant, by suite, part of the name, and why. Anything else is a fault.
EXPLAINED = [
    ('cpython', 'test_pythonmalloc',
     'asks CPython for the name of its allocator, and ours has none there'),
    ('cpython', 'test_xdev', 'asks for the name of the allocator, too'),
]


def explanation(suite, name):
    """Why a test differs, or None."""
    for where, part, why in EXPLAINED:
        if where == suite and part in name:
            return why
    return None
