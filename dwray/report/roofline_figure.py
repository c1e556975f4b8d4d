"""The roofline: how many FLOP a second training reached, beside what its device allows at its arithmetic intensity."""

import altair as alt

from dwray.report.figure_data import roofline_tables
from dwray.report.figures import FONT, HEIGHT, WIDTH, Figure
from dwray.report.panels import configured, network_colour
from dwray.results.records import Records
from dwray.results.roofline import roofline
from dwray.results.table import Row

ROOF_COLOUR = "#555555"


def roofline_figure(records: Records) -> Figure | None:
    """A point for each network under the roof of its device; None where no training recorded what that takes."""
    rows = [row for row in roofline(records).rows if row["measured"] and row["step_bytes"]]
    if not rows:
        return None
    intensities = [intensity(row) for row in rows]
    ridges = [row["ridge"] for row in rows]
    left, right = min(*intensities, *ridges) / 4, max(*intensities, *ridges) * 4
    roofs = dict.fromkeys((row["matrix_flops_per_second"], row["copy_bytes_per_second"]) for row in rows)
    corners = [
        [
            {"roof": number, "intensity": at, "flops": attainable(at, peak, bandwidth)}
            for at in (left, peak / bandwidth, right)
        ]
        for number, (peak, bandwidth) in enumerate(roofs)
    ]
    points = [{"network": row["contender"], "intensity": intensity(row), "flops": reached(row)} for row in rows]
    x = (
        alt.X("intensity:Q")
        .title("arithmetic intensity (FLOP/byte)")
        .scale(type="log", domain=[left, right], nice=False)
        .axis(format="~g", tickCount=6)
    )
    y = alt.Y("flops:Q").title("FLOP/s").scale(type="log", nice=True).axis(format=".0e", tickCount=6)
    roof: alt.Chart = (
        alt.Chart({"values": [corner for each in corners for corner in each]})
        .mark_line(color=ROOF_COLOUR, strokeWidth=1.5, clip=True)
        .encode(x, y, alt.Detail("roof:N"))
    )
    marks: alt.Chart = (
        alt.Chart({"values": points})
        .mark_point(filled=True, size=90, opacity=1)
        .encode(x, y, network_colour([row["contender"] for row in rows]))
    )
    names: alt.Chart = alt.Chart({"values": points}).mark_text(dy=16, font=FONT).encode(x, y, alt.Text("network:N"))
    said = [
        f"{row['contender']}: {reached(row):.3g} FLOP/s at {intensity(row):.3g} FLOP/byte, "
        f"{row['percent_of_floor']:.0f}% of the roof, bound by {row['bound']}."
        for row in rows
    ]
    return Figure(
        name="roofline_points",
        number=None,
        title="Training under the roofline",
        caption=" ".join(
            [
                "FLOP/s that a training pass reached, over the FLOP of a step for each byte that it moves at the "
                "least. Grey: the roof, the lower of a large matrix product's rate and what a large copy can feed.",
                *([f"{len(roofs)} roofs: trainings measured different limits."] if len(roofs) > 1 else []),
            ]
        ),
        alt_text="Roofline chart. " + " ".join(said),
        chart=configured(alt.LayerChart(layer=[roof, marks, names], width=WIDTH, height=HEIGHT)),
        data=roofline_tables(points, corners),
    )


def intensity(row: Row) -> float:
    """FLOP for each byte of a training step, of a row of the roofline's table."""
    return float(row["step_flops"] / row["step_bytes"])


def attainable(at: float, peak: float, bandwidth: float) -> float:
    """FLOP/s that a device allows at an arithmetic intensity in FLOP/byte, with its limits in FLOP/s and bytes/s."""
    return min(peak, bandwidth * at)


def reached(row: Row) -> float:
    """FLOP/s of a training pass: as much below the roof as the pass took longer than its floor."""
    roof = attainable(intensity(row), row["matrix_flops_per_second"], row["copy_bytes_per_second"])
    return roof * float(row["floor_seconds"] / row["measured"])
