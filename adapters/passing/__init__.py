"""The kind ``http``: an API that speaks HTTP already, passed through by rules."""
