"""The subcommands of `saphan`, one module a group."""
