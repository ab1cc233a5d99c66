"""What both sides share: the stages of a message, what is recorded of each, how many may run."""
