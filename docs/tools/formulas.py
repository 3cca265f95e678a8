"""Draw the formulas of the pages as inline SVG by matplotlib, so that the pages need no script and no network."""

from __future__ import annotations

import html
import re
from typing import Any

from matplotlib.path import Path
from matplotlib.textpath import TextPath

_MARKED = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
_EM = 10.0
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
# matplotlib sizes delimiters by \left and \right alone.
_SIZES = re.compile(r"\\[Bb]igg?[lr]?(?![a-zA-Z])")
_BARE_FRACTION = re.compile(r"\\[td]?frac\s*(\w)\s*(\w)")
_EXAMPLE = re.compile(r"<p>(fusionkit [^<]+)</p>")


def readable(tex: str, *, block: bool) -> str:
    """Rewrite a formula in matplotlib's dialect, which sizes delimiters itself and has no short fractions."""
    plain = _BARE_FRACTION.sub(r"\\frac{\1}{\2}", _SIZES.sub("", tex)).replace(r"\tfrac", r"\frac")
    plain = " ".join(plain.replace(r"\mathrm{mean}\max", r"\mathrm{mean}\,\max").split())
    return plain.replace(r"\frac", r"\dfrac") if block else plain


def drawn(tex: str, *, block: bool) -> str:
    """Draw one formula as SVG in the text's colour and size.

    Args:
        tex: the formula, in the part of TeX that matplotlib knows.
        block: whether it stands by itself.

    Raises:
        ValueError: matplotlib cannot read it.
    """
    plain = readable(tex, block=block)
    try:
        path = TextPath((0, 0), f"${plain}$", size=_EM)
    except ValueError as error:
        raise ValueError(f"matplotlib cannot draw the formula {plain}: {str(error).splitlines()[-1]}") from None
    box = path.get_extents()
    steps = []
    for points, code in path.iter_segments(curves=True, simplify=False):
        numbers = (f"{x:.2f} {-y:.2f}" for x, y in points.reshape(-1, 2))
        steps.append(_LETTERS[code] + ("" if code == Path.CLOSEPOLY else " ".join(numbers)))
    # Room for the strokes that antialiasing spreads over the edge.
    left, top, width, height = box.x0 - 0.3, -box.y1 - 0.3, box.width + 0.6, box.height + 0.6
    style = f"width:{width / _EM:.3f}em;height:{height / _EM:.3f}em"
    if not block:
        style += f";vertical-align:{-(top + height) / _EM:.3f}em"
    return (
        f'<svg class="formula" role="img" style="{style}" viewBox="{left:.2f} {top:.2f} {width:.2f} {height:.2f}">'
        f'<title>{html.escape(plain)}</title><path fill="currentColor" d="{"".join(steps)}"/></svg>'
    )


def on_page_content(content: str, page: Any, **_rest: Any) -> str:
    """Replace the formulas of a page's HTML; called by MkDocs."""
    if page.file.src_uri == "cli.md":
        # The examples of a command's help, which click keeps apart from its paragraphs.
        content = _EXAMPLE.sub(r"<pre><code>\1</code></pre>", content)

    def replace(match: re.Match[str]) -> str:
        tag, tex = match[1], html.unescape(match[2]).strip()
        block = tex.startswith(r"\[")
        svg = drawn(tex[2:-2].strip(), block=block)
        return f'<{tag} class="arithmatex">{svg}</{tag}>'

    return _MARKED.sub(replace, content)
