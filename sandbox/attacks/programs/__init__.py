"""The programs of the attacks: standalone, sent as text to an interpreter's standard input.

They import nothing of ours. Each function is one attack and returns what came of it, in words or
with the bytes it was after; it judges nothing. They run inside sandboxes and, as controls, outside:
so each is bounded, ends by itself within seconds, and is harmless where nothing refuses it. What
is opened for writing is not written, what is signalled is a process made for it, and no packet is
sent to anything but loopback.
"""
