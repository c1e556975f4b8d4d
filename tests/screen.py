"""What a terminal shows of what was written to it."""

import re

CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def shown(written: str) -> list[str]:
    """The lines of a terminal, with those that have scrolled off, after the sequences that rich writes.

    Raises:
        ValueError: There is another sequence, which this does not know.
    """
    lines, row, column = [""], 0, 0
    position = 0
    while position < len(written):
        control = CONTROL.match(written, position)
        if control:
            number, kind = control.groups()
            if kind == "A":
                row -= int(number or 1)
                if row < 0:
                    raise ValueError("moved above the first line")
            elif kind == "K":
                lines[row] = ""
            elif kind not in "mhl":  # colours, and whether the cursor is seen
                raise ValueError(f"unknown sequence {control.group()!r}")
            position = control.end()
            continue
        character = written[position]
        position += 1
        if character == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif character == "\r":
            column = 0
        elif character == "\x1b":
            raise ValueError(f"unknown sequence {written[position - 1 : position + 10]!r}")
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + character + line[column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]
