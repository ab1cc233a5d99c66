"""What a journal holds and how it is proven: entries, sealed parts, subjects, completeness."""
