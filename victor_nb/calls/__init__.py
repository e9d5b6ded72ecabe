"""One question to one profile: the request, the call with its attempts, the rows, the reply."""
