"""Legacy sources as services: a declarative mapping from tables to endpoints and schemas."""
