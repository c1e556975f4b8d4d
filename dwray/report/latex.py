r"""The report as LaTeX: each table to be copied into a paper, and all of them as one document for pdflatex.

A table needs the packages array, booktabs, caption, float, graphicx and longtable, which every TeX distribution has.
"""

import re
from collections.abc import Sequence

import altair as alt

from dwray.report.document import Document, Listing, Section
from dwray.report.figures import Figure
from dwray.report.markdown import shortened
from dwray.results.table import Column, Table

LONG = 25
"""A table of more rows than this may be broken over pages."""

WIDE_CELL = 26
"""Text of more characters than this is set as a paragraph."""

_PARAGRAPH = 10
"""Width of such a column, in em."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # After the end of a row these would be read as its arguments.
    "[": "{[}",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{NOT EQUAL TO}": r"$\neq$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{EN DASH}": r"\textendash{}",
    "\N{EM DASH}": r"\textemdash{}",
    "\N{LEFT SINGLE QUOTATION MARK}": r"\textquoteleft{}",
    "\N{RIGHT SINGLE QUOTATION MARK}": r"\textquoteright{}",
    "\N{LEFT DOUBLE QUOTATION MARK}": r"\textquotedblleft{}",
    "\N{RIGHT DOUBLE QUOTATION MARK}": r"\textquotedblright{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{BULLET}": r"\textbullet{}",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER MU}": r"\textmu{}",
    **{chr(0x2080 + digit): rf"\textsubscript{{{digit}}}" for digit in range(10)},
    **{chr(0x2070 + digit): rf"\textsuperscript{{{digit}}}" for digit in (0, *range(4, 10))},
}

_PREAMBLE = r"""\documentclass[a4paper,landscape]{article}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{textcomp}
\usepackage[margin=1.5cm]{geometry}
\usepackage{array,booktabs,caption,float,graphicx,longtable}
\captionsetup{justification=raggedright,singlelinecheck=false}
\setlength{\parindent}{0pt}
\setlength{\emergencystretch}{3em}
"""


def escape(text: str) -> str:
    """Text that pdflatex sets as it stands; a sign that its fonts lack becomes its code point."""
    escaped = "".join(_sign(character) for character in text)
    return re.sub(r"([-,'])(?=\1)", r"\1{}", escaped)  # two of these would become one other sign


def _sign(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isspace():
        return " "
    if (
        " " <= character <= "~"
        or "\N{INVERTED EXCLAMATION MARK}" <= character <= "\N{LATIN SMALL LETTER Y WITH DIAERESIS}"
    ):
        return character
    return rf"\texttt{{U+{ord(character):04X}}}"


def latex_table(table: Table) -> str:
    r"""One table, with its title as caption, its notes below, and the label ``tab:<name>``.

    A table of the paper keeps the paper's number. One that is too wide for the page is scaled down to it; a long one,
    which can be broken over pages, is set smaller instead.
    """
    if not table.rows:
        return f"\\paragraph{{{escape(table.title)}}} Not measured."
    cells = table.cells()
    is_long = len(cells) > LONG
    columns = "@{}" + "".join(
        _alignment(column, [row[index] for row in cells]) for index, column in enumerate(table.shown)
    )
    header = _row([column.heading for column in table.shown], table.shown)
    body = "\n".join(_row(row, table.shown) for row in cells)
    number, caption = _caption(table)
    notes = "\n".join(f"\\par {escape(note)}" for note in table.notes)
    notes = f"\\par\\smallskip\n{{\\footnotesize\n{notes}\n\\par}}" if table.notes else ""
    if is_long:
        return f"""\
\\begingroup
{number}\\scriptsize
\\setlength{{\\tabcolsep}}{{3pt}}
\\setlength{{\\LTleft}}{{0pt}}
\\begin{{longtable}}{{{columns}@{{}}}}
{caption} \\\\
\\toprule
{header}
\\midrule
\\endfirsthead
\\toprule
{header}
\\midrule
\\endhead
\\bottomrule
\\endfoot
{body}
\\end{{longtable}}
\\endgroup
{notes}"""
    return f"""\
\\begin{{table}}[H]
{number}{caption}
\\small
\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%
\\begin{{tabular}}{{{columns}@{{}}}}
\\toprule
{header}
\\midrule
{body}
\\bottomrule
\\end{{tabular}}}}
\\end{{table}}
{notes}"""


def _caption(table: Table) -> tuple[str, str]:
    """What sets the table's number, and its caption with the label."""
    label = f"\\label{{tab:{table.name}}}"
    numbered = re.fullmatch(r"Table (\d+)\. (.*)", table.title)
    if numbered:
        return f"\\renewcommand{{\\thetable}}{{{numbered[1]}}}\n", f"\\caption{{{escape(numbered[2])}}}{label}"
    return "", f"\\caption*{{{escape(table.title)}}}{label}"


def _alignment(column: Column, cells: Sequence[str]) -> str:
    if column.is_number:
        return "r"
    if max(map(len, cells)) > WIDE_CELL:
        return f">{{\\raggedright\\arraybackslash}}p{{{_PARAGRAPH}em}}"
    return "l"


def _row(cells: Sequence[str], columns: Sequence[Column]) -> str:
    return (
        " & ".join(
            _number(cell) if column.is_number else _text(cell) for cell, column in zip(cells, columns, strict=True)
        )
        + r" \\"
    )


def _text(text: str) -> str:
    """A text that stays indented, and that may be broken behind an underscore, as the names of settings must be."""
    return re.sub(r"^ +", r"\\quad ", escape(text)).replace(r"\_", r"\_\allowbreak{}")


def _number(text: str) -> str:
    """A number with a minus that is no hyphen."""
    return re.sub(r"^-(?=.)", "$-$", escape(text))


def latex_figure(figure: Figure, folder: str = "figures") -> str:
    """One figure, as the PDF in a folder; one of the paper's keeps the paper's number."""
    number = "" if figure.number is None else f"\\renewcommand{{\\thefigure}}{{{figure.number}}}\n"
    star = "*" if figure.number is None else ""
    width = 0.32 if isinstance(figure.chart, alt.LayerChart) else 0.85  # several panels need more room
    return f"""\
\\begin{{figure}}[H]
{number}\\includegraphics[width={width}\\linewidth,height=0.7\\textheight,keepaspectratio]{{{folder}/{figure.name}.pdf}}
\\caption{star}{{{escape(figure.title)}. {escape(figure.caption)}}}\\label{{fig:{figure.name}}}
\\end{{figure}}"""


def latex_listing(listing: Listing) -> str:
    """A text line by line, each as it stands."""
    lines = [_indented(line) for line in listing.text.splitlines()]
    body = "\\par\n".join(lines)
    return f"""\
\\paragraph{{{escape(listing.caption)}}}\\mbox{{}}\\par
\\begingroup\\footnotesize\\ttfamily\\raggedright
{body}\\par
\\endgroup"""


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return "~" * (len(line) - len(text)) + escape(text) if text else r"\strut"


def _section(section: Section, folder: str) -> list[str]:
    return [
        f"\\section*{{{escape(section.title)}}}",
        *(escape(paragraph) + r"\par" for paragraph in section.paragraphs),
        *(latex_table(shortened(table)) for table in section.tables),
        *(latex_figure(figure, folder) for figure in section.figures),
        *map(latex_listing, section.listings),
    ]


def latex(document: Document, folder: str = "figures") -> str:
    """The whole report as one document.

    Args:
        document: What it says.
        folder: Of the figures, as the document refers to it.
    """
    parts = [
        f"{_PREAMBLE}\\begin{{document}}",
        f"\\section*{{{escape(document.title)}}}",
        escape(document.subtitle) + r"\par",
        escape(document.provenance) + r"\par",
        *(escape(sentence) + r"\par" for sentence in document.answer),
        *(part for section in document.sections for part in _section(section, folder)),
    ]
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"
