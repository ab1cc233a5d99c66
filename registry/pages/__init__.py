"""The directory as static pages for people, in Lao and English; see :mod:`registry.pages.site`."""

from registry.pages.site import FOLDER, Listed, Listing, Site, page_of, page_path

__all__ = ["FOLDER", "Listed", "Listing", "Site", "page_of", "page_path"]
