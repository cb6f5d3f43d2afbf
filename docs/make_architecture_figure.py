"""Draw the figure of architecture.md from the code: ``python docs/make_architecture_figure.py``.

The data flow comes from `dvc.yaml`, the floors from `FLOORS` in `tests/test_pipeline.py`.
"""

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "pictures" / "architecture.svg"
STAGE_WIDTH, STAGE_HEIGHT, ROW = 110, 30, 62
FLOOR_X, FLOOR_WIDTH, FLOOR_HEIGHT = 470, 430, 34
STYLE = (
    "text { font: 13px sans-serif; fill: #222 } .title { font-weight: bold } .code { font-family: monospace }"
)


def read_floors() -> list[str]:
    """Return the floors of the code, lowest first; each is a string of module names."""
    for node in ast.parse((ROOT / "tests" / "test_pipeline.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FLOORS":
            return ast.literal_eval(node.value)
    raise ValueError("tests/test_pipeline.py: FLOORS not found")


def read_flow() -> dict[str, list[str]]:
    """Return each stage with the stages whose outputs it reads, in the order of `dvc.yaml`."""
    exposures = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["data"]["exposures"]
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8").replace("${data.exposures}", exposures)
    stages = yaml.safe_load(text)["stages"]
    made_by = {}
    for name, stage in stages.items():
        for out in [o for kind in ("outs", "metrics", "plots") for o in stage.get(kind, [])]:
            made_by[out if isinstance(out, str) else next(iter(out))] = name
    return {
        name: sorted(
            {
                source
                for path in stage["deps"]
                for out, source in made_by.items()
                if source != name and (path == out or path.startswith(f"{out}/"))
            },
            key=list(stages).index,
        )
        for name, stage in stages.items()
    }


def place_stages(flow: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
    """Return the centre of each stage's box; a stage stands below the stages that it reads from."""
    level = {}
    for name, sources in flow.items():
        level[name] = 1 + max((level[source] for source in sources), default=-1)
    places = {}
    for row in range(max(level.values()) + 1):
        names = [name for name in flow if level[name] == row]
        for column, name in enumerate(names):
            places[name] = (int(210 + 250 * (column - (len(names) - 1) / 2)), 70 + ROW * row)
    return places


def connect(start: tuple[int, int], end: tuple[int, int], places: list[tuple[int, int]]) -> str:
    """Return the SVG path of an arrow; it bends to the right around a box in its way."""
    (x1, y1), (x2, y2) = start, end
    bend = 0
    for x, y in places:
        if y1 < y < y2 and abs(x1 + (x2 - x1) * (y - y1) / (y2 - y1) - x) < STAGE_WIDTH / 2 + 5:
            bend = 260
    middle = (x1 + x2) // 2 + bend, (y1 + y2) // 2
    top, bottom = y1 + STAGE_HEIGHT // 2, y2 - STAGE_HEIGHT // 2
    curve = f"M{x1},{top} Q{middle[0]},{middle[1]} {x2},{bottom}"
    return f'<path d="{curve}" fill="none" stroke="#667" marker-end="url(#tip)"/>'


def draw() -> str:
    """Return the figure as SVG."""
    flow, floors = read_flow(), read_floors()
    places = place_stages(flow)
    height = 50 + max(max(y for _, y in places.values()), FLOOR_HEIGHT * len(floors))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 {height}" role="img">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>',
        f'<rect width="920" height="{height}" fill="#fff"/>',
        '<text class="title" x="20" y="30">Data flow between the stages</text>',
        f'<text class="title" x="{FLOOR_X}" y="30">Floors: imports point down or sideways</text>',
    ]
    for name, sources in flow.items():
        parts += [connect(places[source], places[name], list(places.values())) for source in sources]
    for name, (x, y) in places.items():
        parts += [
            f'<rect x="{x - STAGE_WIDTH // 2}" y="{y - STAGE_HEIGHT // 2}" width="{STAGE_WIDTH}" '
            f'height="{STAGE_HEIGHT}" rx="4" fill="#dceaf7" stroke="#357"/>',
            f'<text class="code" x="{x}" y="{y + 4}" text-anchor="middle">{name}</text>',
        ]
    for row, floor in enumerate(reversed(floors)):
        y = 48 + FLOOR_HEIGHT * row
        parts += [
            f'<rect x="{FLOOR_X}" y="{y}" width="{FLOOR_WIDTH}" height="{FLOOR_HEIGHT - 6}" '
            'fill="#eef3e6" stroke="#573"/>',
            f'<text class="code" x="{FLOOR_X + FLOOR_WIDTH // 2}" y="{y + 18}" '
            f'text-anchor="middle">{floor}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    FIGURE.write_text(draw(), encoding="utf-8")
