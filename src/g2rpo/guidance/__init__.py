"""Guidance: how much of a trace which rollout gets to see (`controllers`), and how it is cut exactly (`prefix`)."""
