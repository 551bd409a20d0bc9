"""Spawn and perturb (arXiv 2506.13234): from when on does a change no longer lead elsewhere?"""
