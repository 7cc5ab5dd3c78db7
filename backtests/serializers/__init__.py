"""Shapes at the edge: what may be asked for, made of the engine's parameters, and how it is told."""
