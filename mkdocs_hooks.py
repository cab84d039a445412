"""What the documentation makes while it is built: the evidence for each paper, and pictures of relaxations."""

import re

import torch
from mkdocs.structure.files import File, InclusionLevel

from softwood import ops
from softwood.papers import pages

_WIDTH, _HEIGHT, _MARGIN = 150, 96, 14
_FIXED = torch.tensor([1.0, 2.0, 3.0, 4.0])
_T = torch.linspace(0.0, 5.0, 201)


def on_files(files, config):
    """Add the generated pages; only the overview stands in the navigation."""
    for path, text in pages().items():
        page = File.generated(config, path, content=text)
        page.inclusion = InclusionLevel.INCLUDED if path == "evidence.md" else InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown, page, config, files):
    """Draw what ``{{ pictures: GROUP }}`` asks for."""
    return re.sub(r"\{\{ pictures: (\w+) \}\}", lambda found: _pictures(found[1]), markdown)


def _pictures(group):
    """Return a row of small pictures, one for each relaxation of a group of operations."""
    moved = torch.cat([_T.unsqueeze(-1), _FIXED.expand(len(_T), 4)], -1)
    curves = {
        "rank": {
            name: (ops.rank(moved, relax=name, temperature=0.5)[:, 0], ops.rank(moved, hard=True)[:, 0])
            for name in ("isotonic-l2", "isotonic-kl", "lapsum", "pairwise")
        },
        "topk": {
            name: (ops.topk_mask(moved, 2, relax=name, temperature=0.5)[:, 0], (_T > 3).float())
            for name in ("lapsum", "threshold", "budget", "permutahedron", "transport")
        },
        "argmax": {
            name: (ops.argmax(moved, relax=name, temperature=0.5).dense()[:, 0, 0], (_T > 4).float())
            for name in ("softmax", "entmax15", "sparsemax", "p-norm")
        },
        "elementwise": {
            "heaviside, sigmoid": (ops.heaviside(_T - 2.5, temperature=0.3), (_T > 2.5).float()),
            "heaviside, c1": (ops.heaviside(_T - 2.5, relax="c1", temperature=0.3), (_T > 2.5).float()),
            "abs": (ops.abs(_T - 2.5, temperature=0.3), (_T - 2.5).abs()),
            "round": (ops.round(_T, temperature=0.1), _T.round()),
        },
    }[group]
    return "<p>" + "\n".join(_picture(name, *pair) for name, pair in curves.items()) + "</p>"


def _picture(name, soft, exact):
    low, high = float(torch.minimum(soft, exact).min()), float(torch.maximum(soft, exact).max())

    def line(values, style):
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * _T / _T[-1]
        y = _HEIGHT - _MARGIN - (_HEIGHT - 3 * _MARGIN) * (values - low) / (high - low)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
        return f'<polyline points="{points}" fill="none" {style}/>'

    dashed = line(exact, "stroke='gray' stroke-dasharray='3 2'")
    full = line(soft, "stroke='teal' stroke-width='2'")
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{name}">'
        f'<text x="{_MARGIN}" y="12" font-size="12" fill="currentColor">{name}</text>'
        f"{dashed}{full}</svg>"
    )
