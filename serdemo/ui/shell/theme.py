"""The page's own calm look: one table of colours for light and dark, read by theme and CSS."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

UI = Path(__file__).parent.parent

# Token -> (light, dark). Text on either background keeps a contrast of at least 4.5:1.
TOKENS: dict[str, tuple[str, str]] = {
    "body_background_fill": ("#f6f5f1", "#14161a"),
    "background_fill_primary": ("#ffffff", "#1d2026"),
    "background_fill_secondary": ("#f0eee8", "#262a32"),
    "block_background_fill": ("#ffffff", "#1d2026"),
    "body_text_color": ("#1d2430", "#eceef2"),
    "body_text_color_subdued": ("#566070", "#a9b1be"),
    "block_info_text_color": ("#566070", "#a9b1be"),
    "block_label_text_color": ("#566070", "#a9b1be"),
    "block_title_text_color": ("#1d2430", "#eceef2"),
    "border_color_primary": ("#dcd9d0", "#363b45"),
    "block_border_color": ("#dcd9d0", "#363b45"),
    "color_accent_soft": ("#e6ebf5", "#2a3346"),
    "link_text_color": ("#2f4a7d", "#a9c1f5"),
    "button_primary_background_fill": ("#2f4a7d", "#a9c1f5"),
    "button_primary_background_fill_hover": ("#243a64", "#c3d4f9"),
    "button_primary_text_color": ("#ffffff", "#14161a"),
    "button_secondary_background_fill": ("#ffffff", "#262a32"),
    "button_secondary_background_fill_hover": ("#f0eee8", "#323843"),
    "button_secondary_text_color": ("#1d2430", "#eceef2"),
    "button_secondary_border_color": ("#c9c5b9", "#4a505c"),
    "input_background_fill": ("#ffffff", "#1d2026"),
    "input_border_color": ("#c9c5b9", "#4a505c"),
    # A box to tick, and its white tick, keep 3:1.
    "checkbox_background_color": ("#ffffff", "#1d2026"),
    "checkbox_border_color": ("#7a8392", "#8a93a1"),
    "checkbox_border_color_hover": ("#2f4a7d", "#a9c1f5"),
    "checkbox_border_color_focus": ("#2f4a7d", "#a9c1f5"),
    "checkbox_background_color_selected": ("#2f4a7d", "#5f82cc"),
    "checkbox_border_color_selected": ("#2f4a7d", "#5f82cc"),
}


def theme() -> gr.themes.Base:
    """System fonts only, so that nothing is fetched from elsewhere."""
    base = gr.themes.Base(
        font=[gr.themes.Font("system-ui"), gr.themes.Font("sans-serif")],
        font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
        radius_size=gr.themes.sizes.radius_lg,
    )
    values = {name: light for name, (light, _) in TOKENS.items()}
    values |= {f"{name}_dark": dark for name, (_, dark) in TOKENS.items()}
    values |= {"block_shadow": "none", "block_shadow_dark": "none", "checkbox_border_radius": "4px"}
    return base.set(**values)


def variables() -> str:
    """The table as the variables that gradio makes of it, for a page without gradio."""

    def rule(selector: str, column: int) -> str:
        values = (f"--{name.replace('_', '-')}: {pair[column]};" for name, pair in TOKENS.items())
        return f"{selector} {{ {' '.join(values)} }}\n"

    return rule(":root", 0) + rule(".dark", 1)


def css() -> str:
    """The style sheets of the shell and the tabs."""
    return "".join(map(asset, ("shell/style.css", "live/live.css", "explore/explore.css")))


def asset(path: str) -> str:
    """Text of a style sheet or a page, by its path below `serdemo/ui`."""
    return (UI / path).read_text(encoding="utf-8")
