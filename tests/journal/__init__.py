"""The journal: durability, publication, recovery, verification, search and export."""
