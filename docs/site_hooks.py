"""What mkdocs cannot do by itself.

Notebooks of examples/ become pages of the tutorials, with the outputs that they were saved with; formulas in them are drawn by
matplotlib, so that no page loads a script from another host. Links that leave docs/ lead to the file on GitHub; on the site a
picture of benchmarks/results is taken along, a notebook leads to its page, and any other file is named without a link.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(((?:\.\./)+[^)\s]+)\)")
_MATH = re.compile(r"(`[^`]*`)|\$\$(.+?)\$\$|\$(\S|\S[^$\n]*?\S)\$", re.DOTALL)
_NOTHING = re.compile(r'\s+–\s*<div class="doc-md-description">\s*</div>')
_FOLDER = "tutorials"


def _notebooks() -> list[Path]:
    return sorted((ROOT / "examples").glob("*.ipynb"))


def on_config(config: Any) -> Any:
    """List the notebooks in the navigation."""
    for entry in config.nav:
        if "Tutorials" in entry:
            entry["Tutorials"] = ["tutorials.md", *(f"{_FOLDER}/{notebook.stem}.md" for notebook in _notebooks())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the notebooks, and the pictures of the benchmarks."""
    for picture in sorted((ROOT / "benchmarks" / "results").glob("*.png")):
        files.append(File.generated(config, f"benchmarks/results/{picture.name}", abs_src_path=str(picture)))
    for notebook in _notebooks():
        pictures: dict[str, str | bytes] = {}
        text = _page(notebook, pictures)
        files.append(File.generated(config, f"{_FOLDER}/{notebook.stem}.md", content=text))
        for name, content in pictures.items():
            if files.get_file_from_path(f"{_FOLDER}/{name}") is None:
                files.append(File.generated(config, f"{_FOLDER}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links that leave docs/ at what the site has of them."""
    depth = page.file.src_uri.count("/")

    def replaced(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        if target.count("../") <= depth:
            return found[0]
        path = target.removeprefix("../" * (depth + 1))
        if path.startswith("examples/") and path.endswith(".ipynb"):
            path = f"{_FOLDER}/{Path(path).stem}.md"
        known = files.get_file_from_path(path) is not None
        return f"{mark}[{text}]({'../' * depth}{path})" if known else text

    return _LINK.sub(replaced, markdown)


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Leave out the dash before a description that there is not."""
    return _NOTHING.sub("", content)


# ---------------------------------------------------------------------------------------------------- notebooks


def _page(notebook: Path, pictures: dict[str, str | bytes]) -> str:
    """A notebook as Markdown; what it shows is added to `pictures`, by name."""
    parts = []
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", _MATH.sub(lambda m: _formula(m, pictures), source)))
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
            for output in cell["outputs"]:
                parts.append(_output(output, f"{notebook.stem}_{number}.png", pictures))
    parts.append(f"*The notebook is `examples/{notebook.name}`.*")
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict[str, Any], name: str, pictures: dict[str, str | bytes]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        pictures[name] = base64.b64decode("".join(data["image/png"]))
        return f"![What the code draws]({name})"
    if "text/html" in data:
        table = re.search(r"<table.*</table>", "".join(data["text/html"]), re.DOTALL)
        if table:
            return re.sub(r"<(table|tr)[^>]*>", r"<\1>", table[0])
    text = "".join(data.get("text/plain", output.get("text", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def _formula(found: re.Match[str], pictures: dict[str, str | bytes]) -> str:
    """A formula as a picture with the formula as its text; code is left alone."""
    code, display, inline = found.groups()
    if code:
        return code
    from matplotlib import mathtext
    from matplotlib.font_manager import FontProperties

    tex = re.sub(r"\\tfrac(\d)(\d)", r"\\frac{\1}{\2}", (display or inline).strip())
    drawn = io.BytesIO()
    depth = mathtext.math_to_image(f"${tex}$", drawn, prop=FontProperties(size=11), format="svg")
    name = f"formula_{hashlib.sha256(tex.encode()).hexdigest()[:10]}.svg"
    pictures[name] = drawn.getvalue()
    image = f'<img class="formula" style="vertical-align:-{depth:.1f}pt" alt="{html.escape(tex)}" src="{name}">'
    return f"\n\n{image}\n\n" if display else image
