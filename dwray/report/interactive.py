"""A figure's chart made interactive: series that can be hidden, hovering, zooming, and a logarithmic scale.

Nothing is drawn here: Vega-Lite specifications go in and come out, for ``vega-embed`` in the page.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dwray.results.table import finite

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""

Rows = Sequence[Mapping[str, Any]]

ScaleKind = Literal["linear", "log"]

HIDDEN = "hidden"
"""The chart's parameter with the names of the series that are not shown."""

_ZOOM_ON_WHEEL = "wheel![event.ctrlKey || event.metaKey]"
"""With a key, and a trackpad's pinch, which a browser reports so: the wheel alone scrolls the page past the figure."""

_HIT_SIZE = 60
"""Of the mark under the pointer, in square pixels."""

_LOG_MARGIN = 0.9
"""A logarithmic axis begins at this share of the lowest value that it shows."""


@dataclass(frozen=True)
class Series:
    """A line, or the marks of one colour, that the reader can hide."""

    name: str
    colour: str
    dashes: tuple[float, ...] = ()
    """Lengths of its dashes and gaps in pixels; none: solid."""


@dataclass(frozen=True)
class Zoom:
    """What zooms one axis: the chart's signal that holds its ends, and the name of its scale."""

    signal: str
    scale: str


@dataclass(frozen=True)
class InteractiveChart:
    """A chart as it was drawn, and if it was linear also with logarithmic vertical scales, over the same data."""

    specs: Mapping[ScaleKind, Spec]
    """As it was drawn first."""
    datasets: Mapping[str, Rows]
    series: tuple[Series, ...]
    zooms: tuple[Zoom, ...]
    titles: Mapping[str, str]
    """What a tooltip calls the fields of a row."""

    def data(self) -> dict[str, Any]:
        """As JSON may hold it: what the page's script reads."""
        return {
            "specs": dict(self.specs),
            "datasets": finite(self.datasets),
            "titles": dict(self.titles),
            "zooms": [{"signal": zoom.signal, "scale": zoom.scale} for zoom in self.zooms],
        }


def interactive(chart: Spec) -> InteractiveChart:
    """Make a chart of layers, or of panels of layers, interactive.

    Args:
        chart: A Vega-Lite specification with its data under ``datasets``; it is not changed.
    """
    datasets: dict[str, Rows] = dict(chart.get("datasets", {}))
    outer = {key: value for key, value in chart.items() if key not in ("datasets", "layer", "concat")}
    outer["params"] = [*outer.get("params", ()), {"name": HIDDEN, "value": []}]
    is_grid = "concat" in chart
    panels = [
        _Panel({"data": chart.get("data", {})} | panel, f"concat_{number}_" if is_grid else "", number, datasets)
        for number, panel in enumerate(chart["concat"] if is_grid else [chart])
    ]
    drawn: ScaleKind = "log" if any(panel.is_logarithmic for panel in panels) else "linear"
    specs = {drawn: _assembled(outer, [panel.spec() for panel in panels], is_grid=is_grid)}
    # One that is drawn on logarithmic scales stays so: what it is about (a slope, a crossing) lies elsewhere on others.
    if all(panel.can_be_log for panel in panels):
        specs["log"] = _assembled(outer, [panel.spec(as_log=True) for panel in panels], is_grid=is_grid)
    for panel in panels:
        datasets.update(panel.hits)
    return InteractiveChart(
        specs=specs,
        datasets=datasets,
        series=tuple(dict.fromkeys(each for panel in panels for each in panel.series)),
        zooms=tuple(zoom for panel in panels for zoom in panel.zooms),
        titles={field: title for panel in panels for field, title in panel.titles().items()},
    )


def _assembled(outer: Spec, panels: Sequence[Spec], *, is_grid: bool) -> Spec:
    if is_grid:
        return outer | {"concat": list(panels)}
    # As wide as the page allows: one set of axes can be, a grid of them cannot.
    return outer | panels[0] | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


class _Panel:
    """One set of axes: layers over shared scales."""

    def __init__(self, panel: Spec, prefix: str, number: int, datasets: Mapping[str, Rows]) -> None:
        self._panel = panel
        self._prefix = prefix
        self._zoom = f"zoom_{number}"
        self._hit = f"hit_{number}"
        self._layers = [
            _Layer(layer, datasets.get(layer.get("data", panel["data"]).get("name"), ())) for layer in panel["layer"]
        ]
        coloured = [layer for layer in self._layers if layer.colour_field]
        self.series_field = coloured[0].colour_field if coloured else None
        self.series = tuple(dict.fromkeys(each for layer in coloured for each in layer.series()))
        self._pointed = [layer for layer in coloured if layer.can_be_pointed_at]
        self.hits: dict[str, Rows] = (
            {self._hit: [row for layer in self._once(self._pointed) for row in layer.rows]} if self._pointed else {}
        )

    @staticmethod
    def _once(layers: Iterable["_Layer"]) -> list["_Layer"]:
        """Layers with data of their own: a line and its marks have one."""
        return list({id(layer.rows): layer for layer in layers}.values())

    @property
    def is_logarithmic(self) -> bool:
        return any(layer.scale(axis).get("type") == "log" for layer in self._layers for axis in ("x", "y"))

    @property
    def can_zoom(self) -> bool:
        return bool(self._pointed) and all(layer.is_quantitative("x") for layer in self._pointed)

    @property
    def zooms(self) -> tuple[Zoom, ...]:
        if not self.can_zoom:
            return ()
        encoding = self._pointed[0].encoding
        return tuple(Zoom(f"{self._zoom}_{encoding[axis]['field']}", f"{self._prefix}{axis}") for axis in ("x", "y"))

    @property
    def can_be_log(self) -> bool:
        """It is not, and has positive values to show on a logarithmic axis."""
        return not self.is_logarithmic and self._log_domain is not None

    @property
    def _log_domain(self) -> tuple[float, float] | None:
        """Ends of a logarithmic vertical axis; None where nothing positive would be on it."""
        values = [
            value
            for layer in self._pointed
            for row in layer.rows
            if isinstance(value := row.get(layer.encoding["y"]["field"]), int | float) and math.isfinite(value)
        ]
        positive = [value for value in values if value > 0]
        tops = [layer.scale("y")["domain"][1] for layer in self._pointed if "domain" in layer.scale("y")]
        if not positive or (tops and min(positive) >= tops[0]):
            return None
        return _LOG_MARGIN * min(positive), tops[0] if tops else max(positive) / _LOG_MARGIN

    def spec(self, *, as_log: bool = False) -> Spec:
        """The panel, with its scales as they are, or with a logarithmic vertical one."""
        layers = [layer.spec(self.series_field, clip=self.can_zoom) for layer in self._layers]
        if self._pointed:
            layers.append(self._pointer_layer())
        if as_log and (domain := self._log_domain):
            layers = [_logarithmic(layer, domain) for layer in layers]
        data = {"data": self._panel["data"]} if self._panel["data"] else {}
        return {key: value for key, value in self._panel.items() if key not in _OUTER} | data | {"layer": layers}

    def _pointer_layer(self) -> Spec:
        """Marks of all series, seen only under the pointer: whichever is nearest says what it is."""
        first = self._pointed[0].encoding
        colour = first["color"] | {"legend": None}
        params: list[Spec] = [
            {
                "name": f"{self._hit}_nearest",
                "select": {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"},
            }
        ]
        if self.can_zoom:
            params.append(
                {
                    "name": self._zoom,
                    "select": {"type": "interval", "zoom": _ZOOM_ON_WHEEL, "clear": "dblclick"},
                    "bind": "scales",
                }
            )
        seen = {"condition": {"param": f"{self._hit}_nearest", "empty": False, "value": 1}, "value": 0}
        return {
            "data": {"name": self._hit},
            "transform": [_only_shown(self.series_field)],
            "params": params,
            "mark": {
                "type": "point",
                "filled": True,
                "size": _HIT_SIZE,
                "clip": self.can_zoom,
                "tooltip": {"content": "data"},
            },
            "encoding": {
                **{channel: first[channel] for channel in ("x", "xOffset", "y") if channel in first},
                "color": colour,
                "opacity": seen,
            },
        }

    def titles(self) -> dict[str, str]:
        """What a tooltip says of a mark: the fields of its row, each by the title of its axis."""
        drawn = [layer for layer in self._layers if layer in self._pointed or layer.is_bar]
        channels = [channel for layer in drawn for channel in layer.encoding.values() if isinstance(channel, dict)]
        titled = {each["field"]: each["title"] for each in channels if "field" in each and each.get("title")}
        fields = {field for layer in drawn for row in layer.rows[:1] for field in row}
        order = {each.get("field") for layer in drawn for name, each in layer.encoding.items() if name == "order"}
        return {field: titled.get(field, field) for field in sorted(fields - order, key=self._telling)}

    def _telling(self, field: str) -> tuple[bool, str]:
        """The series first."""
        return field != self.series_field, field


_OUTER = ("datasets", "config", "$schema", "layer", "params", "data")
"""What a panel that is the whole chart leaves to the chart."""


class _Layer:
    """One kind of mark over some rows."""

    def __init__(self, layer: Spec, rows: Rows) -> None:
        self._layer = layer
        self.rows = rows
        self.encoding: Spec = layer.get("encoding", {})
        self.mark: Spec = layer["mark"] if isinstance(layer["mark"], dict) else {"type": layer["mark"]}

    @property
    def colour_field(self) -> str | None:
        field = self.encoding.get("color", {}).get("field")
        return field if isinstance(field, str) else None

    @property
    def is_bar(self) -> bool:
        return bool(self.mark["type"] == "bar")

    def is_quantitative(self, axis: str) -> bool:
        return bool(self.encoding.get(axis, {}).get("type") == "quantitative")

    def scale(self, axis: str) -> Spec:
        found: Spec = self.encoding.get(axis, {}).get("scale") or {}
        return found

    @property
    def can_be_pointed_at(self) -> bool:
        """Lines and points are; a bar is large enough to say for itself what it is."""
        return (
            self.mark["type"] in ("line", "point")
            and "field" in self.encoding.get("x", {})
            and self.is_quantitative("y")
        )

    def series(self) -> list[Series]:
        """The colours of its legend, by name."""
        scale = self.encoding["color"].get("scale", {})
        dashes = self.encoding.get("strokeDash", {}).get("scale", {})
        lengths = dict(zip(dashes.get("domain", ()), dashes.get("range", ()), strict=True))
        return [
            Series(name, colour, () if lengths.get(name, [1, 0])[-1] == 0 else tuple(lengths[name]))
            for name, colour in zip(scale.get("domain", ()), scale.get("range", ()), strict=True)
        ]

    def spec(self, series_field: str | None, *, clip: bool) -> Spec:
        """The layer without its own legend of the series, which are buttons; those that are hidden are left out."""
        encoding = {
            channel: {**how, "legend": None}
            if channel in ("color", "strokeDash") and how.get("field") == series_field
            else how
            for channel, how in self.encoding.items()
        }
        mark = self.mark | ({"clip": True} if clip else {}) | ({"tooltip": {"content": "data"}} if self.is_bar else {})
        made = self._layer | {"mark": mark, "encoding": encoding}
        if series_field and any(series_field in row for row in self.rows):
            made["transform"] = [*self._layer.get("transform", ()), _only_shown(series_field)]
        return made


def _only_shown(series_field: str | None) -> Spec:
    return {"filter": f"indexof({HIDDEN}, datum[{series_field!r}]) < 0"}


def _logarithmic(layer: Spec, domain: tuple[float, float]) -> Spec:
    """A layer with a logarithmic vertical scale.

    What is not positive has no place on it: a line skips it, and a band that goes below is drawn to the axis' end.
    """
    encoding = dict(layer["encoding"])
    field = encoding.get("y", {}).get("field")
    if field is None:
        return layer
    transforms = list(layer.get("transform", ()))
    if "y2" in encoding:
        transforms += [
            {"calculate": f"max(datum[{each!r}], {domain[0]!r})", "as": each}
            for each in (field, encoding["y2"]["field"])
        ]
    else:
        transforms.append({"filter": f"datum[{field!r}] > 0"})
    encoding["y"] = encoding["y"] | {"scale": {"type": "log", "domain": list(domain), "nice": False}}
    return layer | {"encoding": encoding, "transform": transforms}
