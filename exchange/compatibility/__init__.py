"""Compatibility of two versions of a schema or of a service, decided from the documents alone.

- :mod:`exchange.compatibility.inclusion`: whether every instance of one schema is one of another;
- :mod:`exchange.compatibility.sets`: two versions of a shared schema;
- :mod:`exchange.compatibility.openapi`: two versions of a service's OpenAPI document;
- :mod:`exchange.compatibility.breaks`: what breaks, and why, in both languages.
"""

from exchange.compatibility.breaks import Break, Way, distinct
from exchange.compatibility.openapi import compare_openapi
from exchange.compatibility.sets import compare_schemas

__all__ = ["Break", "Way", "compare_openapi", "compare_schemas", "distinct"]
