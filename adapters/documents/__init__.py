"""The kind ``documents``: a folder of scanned papers and pictures, with metadata and digests."""
