"""Derive the published book's address from `repository.url`, the one place that holds it."""

from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.config import Config

NOT_FOUND = """<h1>Page not found</h1>
<p>This address leads to no page of the book; it may have moved.</p>
<p>Begin at the <a data-page="book/intro.html" href="{prefix}book/intro.html">first page</a>, or
<a data-page="search.html" href="{prefix}search.html">search</a> for what it was about.</p>"""


def pages_url(repository_url: str) -> str:
    """Where GitHub Pages publishes a repository.

    >>> pages_url("https://github.com/someone/some-book")
    'https://someone.github.io/some-book/'
    """
    owner, name = urlsplit(repository_url).path.strip("/").split("/")
    return f"https://{owner}.github.io/{name}/"


def set_addresses(app: Sphinx, config: Config) -> None:
    """Fill in every setting that needs the address."""
    url = pages_url(config.html_theme_options["repository_url"])
    config.html_baseurl = url
    config.ogp_site_url = url
    prefix = urlsplit(url).path
    config.notfound_urls_prefix = prefix
    config.notfound_template = "404.html"
    config.notfound_context = {"title": "Page not found", "body": NOT_FOUND.format(prefix=prefix)}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, before the extensions that read these settings."""
    app.connect("config-inited", set_addresses, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
