"""How the page looks: fonts that every system has (no font server is asked), a few lines of CSS."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Ubuntu", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

CSS = """
.gradio-container { max-width: none !important; padding: 0.75rem 1.25rem !important; }
#mast3r-title h1 { margin: 0; font-size: 1.35rem; }
#mast3r-title p { margin: 0.1rem 0 0; color: var(--body-text-color-subdued); }
#mast3r-status { min-height: 4.2rem; }
.mast3r-status { display: flex; flex-direction: column; gap: 0.35rem; padding: 0.2rem 0.1rem; }
.mast3r-status .line { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.2rem 1rem; }
.mast3r-status .stage { font-weight: 600; overflow-wrap: anywhere; }
.mast3r-status .time { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.mast3r-status .bar { height: 0.45rem; border-radius: 0.25rem; overflow: hidden;
  background: var(--neutral-200); }
.dark .mast3r-status .bar { background: var(--neutral-700); }
.mast3r-status .bar > div { height: 100%; background: var(--primary-500); transition: width 0.4s; }
.mast3r-status.error .stage { color: var(--error-text-color, #b91c1c); }
.dark .mast3r-status.error .stage { color: #fca5a5; }
.mast3r-status.done .bar > div { background: #16a34a; }
#mast3r-status .wrap span.error, #mast3r-match-status .wrap span.error,
#mast3r-localize-status .wrap span.error { display: none; }
#mast3r-log textarea { font-family: var(--font-mono); font-size: 0.8rem; }
#mast3r-downloads button { min-width: 7rem; }
#mast3r-view3d { min-height: 24rem; }
#mast3r-view3d canvas, #mast3r-localize-view3d canvas { width: 100% !important; height: 100% !important; }
#mast3r-gallery .grid-container, #mast3r-examples .grid-container { overflow-x: hidden;
  grid-template-columns: repeat(var(--grid-cols), minmax(0, 1fr)); }
#mast3r-examples .thumbnail-item { aspect-ratio: 4 / 3; height: auto; }
.dark input[type=checkbox]:not(:checked), .dark input[type=radio]:not(:checked) {
  border-color: var(--neutral-400); }
.mast3r-hint strong { color: var(--body-text-color); }
.mast3r-hint p { color: var(--body-text-color-subdued); font-size: 0.85rem !important; margin: 0; }
@media (max-width: 640px) {
  .gradio-container { padding: 0.4rem !important; }
  .gradio-container main { padding: 0.4rem !important; }
  #mast3r-downloads button { min-width: 5.5rem; flex: 1 1 40%; }
}
"""

RELEASE_SLIDERS = """
() => {
  const release = (range) => setTimeout(() =>
    range.dispatchEvent(new PointerEvent('pointerup', { bubbles: true })), 60);
  const rangeOf = (element) => element.closest('.block, .form > *')?.querySelector('input[type=range]');
  document.addEventListener('change', (event) => {
    if (event.target.matches?.('input[type=number]') && rangeOf(event.target)) release(rangeOf(event.target));
  });
  document.addEventListener('keyup', (event) => {
    if (event.target.matches?.('input[type=range]')) release(event.target);
  });
  document.addEventListener('click', (event) => {
    const reset = event.target.closest?.('.reset-button');
    if (reset && rangeOf(reset)) release(rangeOf(reset));
  });
}
"""
"""Gradio tells of a slider let go by the mouse only: this adds numbers typed beside it, arrow keys, reset."""


def page_theme() -> gr.themes.Base:
    """Gradio's plain theme with system fonts."""
    import gradio as gr

    return gr.themes.Default(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_sm,
        font=SANS,
        font_mono=MONO,
    )
