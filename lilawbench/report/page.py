"""A web page that stands by itself."""

import html

STYLE = (
    "body { font: 16px/1.5 sans-serif; max-width: 80em; margin: 2em auto; padding: 0 1em } "
    "caption { text-align: left; padding-bottom: .5em } table { border-collapse: collapse; margin: 1em 0 } "
    "th, td { padding: .3em .8em; border-bottom: 1px solid #ccc } td { white-space: nowrap } img { max-width: 100% }"
)


def page(title: str, *parts: str) -> str:
    """The parts are HTML, the title is not."""
    head = ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">', f"<title>{html.escape(title)}</title>"]
    return "\n".join([*head, f"<style>{STYLE}</style>", *parts, "</html>", ""])
