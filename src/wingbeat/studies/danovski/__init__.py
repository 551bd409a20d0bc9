"""Danovski, Soriano and Lacasa (arXiv 2404.05782): is training on iris chaotic?"""
