"""What tests of explorers and of the built site read in HTML."""

from html.parser import HTMLParser


def tags_of(html):
    """Every start tag of a page with its attributes."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(html)
    return found
