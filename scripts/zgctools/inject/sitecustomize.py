"""Put first on PYTHONPATH by zgc-ab: starts the pause meter, then gives way to whatever
sitecustomize the program would have had. The program sees its usual sys.path. Costs
about 0.7 MB and 2 ms, on both sides alike."""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader


def run(name, spec):
    """Imports what spec describes under a name of our choice."""
    module = type(sys)(name)
    module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
try:
    place = os.path.join(os.path.dirname(here), 'pausemeter.py')
    loader = SourceFileLoader('_zgc_pausemeter', place)
    run('_zgc_pausemeter', ModuleSpec('_zgc_pausemeter', loader, origin=place)).start()
except Exception:       # a program never fails because it is measured; the report says "no data"
    pass

following = PathFinder.find_spec('sitecustomize', sys.path)
if following is not None and following.loader is not None:
    run('sitecustomize', following)
