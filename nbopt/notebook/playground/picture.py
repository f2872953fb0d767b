"""The still pictures of playground and race: what a saved notebook shows where no kernel lives.

Plain HTML below the widgets, as `nbopt.notebook.static_view` has it for panels: the field as an image, all else as SVG.
"""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbopt.notebook.charts.colours import CLASSES, DEPTH, RACERS
from nbopt.notebook.playground.data import REACH, Points
from nbopt.viz.boundary import Sketch
from nbopt.viz.contour import contour
from nbopt.viz.surfaces import SIDE, Surface, relief

Floats = NDArray[np.floating[Any]]

_SIZE = 300  # of a field, in pixels
_BANDS = 14  # of a surface, each of one tone
_TEXT, _GROUND, _LINE = (
    "var(--jp-ui-font-color1,#212121)",
    "var(--jp-layout-color1,#fff)",
    "var(--jp-border-color2,#bbb)",
)


def plane(sketch: Sketch, points: Points, text: str) -> str:
    """Return the plane of a playground: the field, the boundary, and the points; hollow ones are for validation."""
    values = sketch.field.astype(float) / 65535
    tones = np.where((values < 0.5)[..., None], _rgb(CLASSES[0]), _rgb(CLASSES[1]))
    scale = _SIZE / (len(values) - 1)
    line = "".join(f"M{x:.0f} {y:.0f}L{u:.0f} {v:.0f}" for (x, y), (u, v) in (contour(values, 0.5) * scale).tolist())
    parts = [_image(tones, 255 * 0.48 * np.abs(2 * values - 1)), f'<path d="{line}" stroke="{_TEXT}" fill="none"/>']
    for x, y, inner in ((points.x, points.y, None), (points.x_val, points.y_val, _GROUND)):
        for label, (colour, cap) in enumerate(zip(CLASSES, ("round", "square"), strict=True)):
            places = (np.asarray(x)[np.asarray(y) == label] * (1, -1) + REACH) * _SIZE / (2 * REACH)
            dots = "".join(f"M{across:.0f} {down:.0f}h0" for across, down in places.tolist())
            parts.append(f'<path d="{dots}" stroke="{colour}" stroke-width="6" stroke-linecap="{cap}"/>')
            if inner is not None:
                parts.append(f'<path d="{dots}" stroke="{inner}" stroke-width="3" stroke-linecap="{cap}"/>')
    return _svg("".join(parts), text)


def network(sketch: Sketch, text: str) -> str:
    """Return a network: a box for each unit, and lines as thick as the weights are large."""
    across = np.linspace(20, _SIZE - 20, len(sketch.units))
    down = [(np.arange(len(layer)) + 0.5) * _SIZE / len(layer) for layer in sketch.units]
    parts = []
    for k, weights in enumerate(sketch.weights):
        largest = max(float(np.abs(np.nan_to_num(weights)).max()), 1e-12)
        for (to, source), weight in np.ndenumerate(np.nan_to_num(weights) / largest):
            ends = f"M{across[k]:.0f} {down[k][source]:.0f}L{across[k + 1]:.0f} {down[k + 1][to]:.0f}"
            colour = CLASSES[int(weight > 0)]
            parts.append(f'<path d="{ends}" stroke="{colour}" stroke-width="{3 * abs(weight):.1f}" opacity=".6"/>')
    boxes = "".join(f"M{x - 8:.0f} {y - 8:.0f}h16v16h-16z" for x, ys in zip(across, down, strict=True) for y in ys)
    return _svg(f'{"".join(parts)}<path d="{boxes}" fill="{_GROUND}" stroke="{_TEXT}"/>', text)


def ways(surface: Surface, paths: Sequence[Floats], text: str) -> str:
    """Return a surface with the ways of the racers on it, and a cross at its lowest place."""
    height = np.floor(relief(surface).astype(float) / 65536 * _BANDS) / _BANDS
    left, right, bottom, top = surface.reach

    def place(at: Any) -> Any:
        return (np.asarray(at, float) - (left, top)) / (right - left, bottom - top) * _SIZE

    parts = [_image(np.broadcast_to(_rgb(DEPTH), (SIDE, SIDE, 3)), 255 * 0.7 * (1 - height))]
    x, y = place(surface.lowest).tolist()
    parts.append(f'<path d="M{x - 5:.0f} {y:.0f}h10m-5-5v10" stroke="{_TEXT}" stroke-width="2"/>')
    for path, colour in zip(paths, RACERS, strict=True):
        line = "L".join(f"{u:.0f} {v:.0f}" for u, v in np.clip(place(path), -_SIZE, 2 * _SIZE).tolist())
        parts.append(f'<path d="M{line}" stroke="{colour}" stroke-width="2" fill="none"/>')
    return _svg("".join(parts), text)


def beside(*pictures: str) -> str:
    """Return pictures beside each other, below each other where it is narrow."""
    style = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:16px;padding:8px 0"
    return f'<div class="nbopt-still" style="{style}">{"".join(pictures)}</div>'


def _svg(inside: str, text: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" width="{_SIZE}" height="{_SIZE}" '
        f'style="max-width:100%;border:1px solid {_LINE}" role="img" aria-label="{html.escape(text, quote=True)}">'
        f"{inside}</svg>"
    )


def _image(tones: NDArray[Any], opacity: NDArray[Any]) -> str:
    """Return an image of one tone at each place, more or less transparent: on a light ground and on a dark one."""
    pixels = np.dstack([tones, opacity]).round().astype(np.uint8)
    source = base64.b64encode(_png(pixels)).decode()
    return f'<image href="data:image/png;base64,{source}" width="{_SIZE}" height="{_SIZE}" preserveAspectRatio="none"/>'


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of RGBA pixels, shape (rows, columns, 4)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns, _parts = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def _rgb(colour: str) -> NDArray[np.int64]:
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
