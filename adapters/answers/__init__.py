"""A request to an answer: what is asked, the statement that asks it, and its rows as JSON."""
