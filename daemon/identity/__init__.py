"""Devices, agents and authorities: who may come in, how they do, and how they are shown out."""
