"""What figures of several networks share: one colour a network, and panels in a grid."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from dwray.report.figures import FONT
from dwray.results.records import Records

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8447f", "#5c3a00", "#8a6cfd", "#000000")
"""Okabe and Ito's, which the colour-blind tell apart; what is too light on white paper is dark here, or another hue.

Each has a contrast of at least 3 with white, and in page.js a counterpart that has it with a dark page.
"""

MARK_COLOUR = "#555555"
"""Of what is no network's: where two change their order, the dashes of a legend."""

PAGE_COLOUR = "#ffffff"
"""Of what lies between bars that touch; in a dark page, the page's."""

PANEL_WIDTH, PANEL_HEIGHT = 230, 190
"""Of a panel's axes, in pixels."""

_MOST_COLUMNS = 3


def network_colour(contenders: Sequence[str]) -> alt.Color:
    """A colour for each network, the same in every figure; they repeat where there are more networks than colours."""
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(contenders))]
    return (
        alt.Color("network:N")
        .scale(domain=list(contenders), range=colours)
        .legend(title=None, orient="top", direction="horizontal", labelLimit=0)
    )


def configured(chart: Any) -> Any:
    """A chart in the report's looks: white behind it, as readable in a dark page and in print."""
    legend = alt.LegendConfig(symbolStrokeColor=MARK_COLOUR, symbolFillColor=MARK_COLOUR)  # Vega heeds both or neither
    return chart.configure(font=FONT, background="white", aria=False, padding=8, legend=legend)


def grid(panels: Sequence[alt.LayerChart]) -> Any:
    """Panels side by side; one stands alone."""
    if len(panels) == 1:
        return configured(panels[0])
    columns = 2 if len(panels) in (2, 4) else _MOST_COLUMNS
    return configured(alt.ConcatChart(concat=list(panels), columns=columns))


def meaning(records: Records) -> list[str]:
    """What must be said of any figure that shows what came of the images."""
    return ["SYNTHETIC images (random numbers): this means nothing."] if records.synthetic else []
