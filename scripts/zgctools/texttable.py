"""Tables for a terminal: numbers to the right, text to the left, nothing wider than needed."""


class Table:
    def __init__(self, *heads):
        """A head that starts with '>' makes a right-aligned column."""
        self.right = [head.startswith('>') for head in heads]
        self.heads = [head.lstrip('>') for head in heads]
        self.rows = []

    def row(self, *cells):
        self.rows.append([str(cell) for cell in cells])

    def __str__(self):
        lines = [self.heads] + self.rows
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        text = []
        for number, line in enumerate(lines):
            cells = [cell.rjust(width) if right else cell.ljust(width)
                     for cell, width, right in zip(line, widths, self.right)]
            text.append('  '.join(cells).rstrip())
            if number == 0:
                text.append('-' * min(sum(widths) + 2 * (len(widths) - 1), 118))
        return '\n'.join(text)
