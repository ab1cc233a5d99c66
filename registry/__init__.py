"""The central registry: members, services, schemas and agreements, published as TUF metadata."""
