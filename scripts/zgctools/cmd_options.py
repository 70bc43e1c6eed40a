"""`zgcpreload options`: the library's options."""

from . import optiontable, tool

EXAMPLES = ['zgcpreload options', 'zgcpreload options trigger pause']


def parse(argv):
    parser = tool.parser('zgcpreload options', ['[word ...]'],
                         'List the options of the library: environment variables, and flags of `zgcpreload run`.',
                         EXAMPLES)
    parser.add_argument('words', nargs='*', metavar='word', help='only options whose name or help has a word')
    return parser.parse_args(argv)


def main(argv):
    words = [word.lower() for word in parse(argv).words]
    table = optiontable.rows()
    if not table:
        raise tool.ToolError(f'{optiontable.NAME}, which knows the options, was not found')
    for name, _, default, accepted, about in table:
        if words and not any(word in (name + about).lower() for word in words):
            continue
        print(f'{name}\n    {about}\n    {accepted}; default: {default or "unset"}')
    return tool.OK
