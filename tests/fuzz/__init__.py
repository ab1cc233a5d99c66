"""Whatever comes: parsers and header rules under bytes and fields that hypothesis makes."""
