"""`zgcpreload path`: where the library is."""

from . import library, tool

EXAMPLES = ['LD_PRELOAD=$(zgcpreload path) python3 app.py',
            'ENV LD_PRELOAD=/usr/local/lib/python3.13/site-packages/zgcpreload/libzgcpreload.so   (Dockerfile)']


def main(argv):
    tool.parser('zgcpreload path', [''], 'Print the path of the library.', EXAMPLES).parse_args(argv)
    print(library.find())
    return tool.OK
