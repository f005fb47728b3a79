#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rate against size as an SVG, from the JSON lines of bench/run.sh. No packages.

python3 bench/plot.py LINES.json OUT.svg WORK...     (a line a WORK; memcpy is grey)
"""
import json
import math
import sys

COLOURS = ["#1b6ca8", "#d1495b", "#2e933c", "#8d5fd3", "#c98b00", "#00798c"]
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 230, 30, 50


def kib(size):
    number, unit = size.split()
    return int(number) * (1024 if unit == "MiB" else 1)


def main():
    rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8") if line.strip()]
    works = sys.argv[3:] or ["memcpy"]
    series = {}
    for work in works:
        points = {kib(r["size"]): r["gb_per_s"] for r in rows
                  if r["work"] == work and r["threads"] == 1}
        if points:
            series[work] = sorted(points.items())
    if not series:
        sys.exit("none of these works has a row")
    sizes = sorted({x for points in series.values() for x, _ in points})
    top = max(y for points in series.values() for _, y in points) * 1.1
    low, high = math.log2(sizes[0]), math.log2(sizes[-1])

    def at_x(x):
        share = (math.log2(x) - low) / (high - low) if high > low else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def at_y(y):
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="18">GB/s of bytes touched, one thread</text>']
    step = 10 ** math.floor(math.log10(top / 2))
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if top / s <= 8)
    y = 0
    while y < top:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" '
                   'stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
        y += step
    for x in sizes:
        name = f"{x} KiB" if x < 1024 else f"{x // 1024} MiB"
        out.append(f'<text x="{at_x(x):.1f}" y="{HEIGHT - BOTTOM + 20}" '
                   f'text-anchor="middle">{name}</text>')
    for i, (work, points) in enumerate(series.items()):
        colour = "#888" if work == "memcpy" else COLOURS[i % len(COLOURS)]
        path = " ".join(f"{at_x(x):.1f},{at_y(v):.1f}" for x, v in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, v in points:
            out.append(f'<circle cx="{at_x(x):.1f}" cy="{at_y(v):.1f}" r="3" fill="{colour}"/>')
        y_name = TOP + 20 + 20 * i
        out.append(f'<text x="{WIDTH - RIGHT + 15}" y="{y_name}" fill="{colour}">{work}</text>')
    out.append("</svg>")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
