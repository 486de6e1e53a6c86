"""The tools the daemon knows: what each declares, which bytes it consists of, how a call fills it.

Facts only: nothing here decides, scores, spawns or records. The PEP joins these facts with
policy and sandbox.
"""
