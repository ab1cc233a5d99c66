"""The JSON Schemas of one document and the shared ones it refers to, compiled."""
