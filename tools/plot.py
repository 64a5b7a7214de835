# SPDX-License-Identifier: BSD-3-Clause
"""A line chart of durations as an SVG."""

import math
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 76, 70, 56, 60
# From the y axis to the first point: room for its label.
INSET = 54
COLOURS = ("#b3541e", "#1f5fa8")
INK, GRID = "#222222", "#dddddd"


def duration(microseconds):
    """Three digits and a unit."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} µs"


def lines(title, x_label, x_values, series):
    """One line for each name in `series`, which has the microseconds at each of `x_values`.

    The x values stand at equal distances, the y axis is logarithmic.
    """
    every = [value for values in series.values() for value in values]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    step = (WIDTH - LEFT - INSET - RIGHT) / (len(x_values) - 1)

    def x_of(index):
        return LEFT + INSET + index * step

    def y_of(value):
        part = (math.log10(value) - low) / (high - low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             text(LEFT, 28, title, size=16, anchor="start")]
    for power in range(low, high + 1):
        y = y_of(10 ** power)
        parts += [stroke([(LEFT, y), (WIDTH - RIGHT, y)], GRID, 1),
                  text(LEFT - 10, y + 4, duration(10 ** power), anchor="end")]
    parts += [text(x_of(index), HEIGHT - BOTTOM + 22, str(value))
              for index, value in enumerate(x_values)]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x_label))
    for (name, values), colour in zip(series.items(), COLOURS, strict=True):
        points = [(x_of(index), y_of(value)) for index, value in enumerate(values)]
        parts += line(name, points, values, colour, above=values[-1] == max(every))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">\n'
            f"<title>{escape(title)}</title>\n" + "\n".join(parts) + "\n</svg>\n")


def line(name, points, values, colour, above):
    """A line with its points, their values and, at its end, its name.

    The values stand above on the left, or below on the right, where a line that rises leaves room.
    """
    away, down, anchor = (-4, -9, "end") if above else (4, 20, "start")
    yield stroke(points, colour, 2.5)
    for (x, y), value in zip(points, values):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        yield text(x + away, y + down, duration(value), anchor=anchor, colour=colour)
    x, y = points[-1]
    yield text(x + 12, y + 5, name, size=15, anchor="start", colour=colour)


def stroke(points, colour, width):
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def text(x, y, what, size=13, anchor="middle", colour=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{colour}">{escape(what)}</text>')
