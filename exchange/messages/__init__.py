"""How a message is signed (RFC 9421), with its digest (RFC 9530), and what of it is covered."""
