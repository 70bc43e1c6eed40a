"""What came of each test: JUnit reports, unittest's output, logs of the collector."""

import glob
import os
import re
import signal
import xml.etree.ElementTree

GOOD = ('passed', 'skipped')
COLLECTION = re.compile(rb'GC\(\d+\) (?:Full Collection \([^)]*\)|Pause Full \([^)]*\)) '
                        rb'found \d+ reclaimed (\d+)')


def is_good(outcome):
    return outcome in GOOD


def junit_cases(*paths):
    """{test: outcome} of JUnit XML files, which regrtest and pytest write alike."""
    cases = {}
    for path in paths:
        try:
            root = xml.etree.ElementTree.parse(path).getroot()
        except (OSError, xml.etree.ElementTree.ParseError):
            continue
        for case in root.iter('testcase'):
            name = '.'.join(filter(None, (case.get('classname'), case.get('name'))))
            kinds = {child.tag for child in case}
            outcome = 'failed' if kinds & {'failure', 'error'} else \
                'skipped' if 'skipped' in kinds else 'passed'
            if cases.get(name) != 'failed':         # sub-tests share a name
                cases[name] = outcome
    return cases


def unittest_cases(output):
    """{test: outcome} of unittest's verbose output."""
    words = {'ok': 'passed', 'FAIL': 'failed', 'ERROR': 'failed', 'skipped': 'skipped'}
    head = r'\w+ \([\w.]+\)'         # the first line of a docstring may stand on the next one
    found = re.findall(rf'^({head})(?:\n(?!{head}).*?)?.*?\.\.\. (?:.*?)(ok|FAIL|ERROR|skipped)\b',
                       output, re.M)
    return {name: words[word] for name, word in found}


def of_process(status, output):
    """One word or two for a whole process, from its exit status and what it printed."""
    if isinstance(status, str):
        return status
    if status < 0:
        return f'killed by {signal.Signals(-status).name}'
    if status == 0:
        return 'passed'
    # regrtest ends with 4 (or 0 before 3.12) when there was nothing to run.
    if status == 4 and re.search(r'skipped|No tests ran|NO TESTS RAN', output):
        return 'skipped'
    return 'failed'


def collections(folder):
    """(full collections of ours that came to an end, objects they reclaimed) in a folder of logs."""
    count = reclaimed = 0
    for path in glob.glob(os.path.join(folder, '*.log')):
        with open(path, 'rb') as lines:
            for line in lines:
                found = COLLECTION.search(line)
                if found:
                    count += 1
                    reclaimed += int(found[1])
    return count, reclaimed
