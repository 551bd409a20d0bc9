"""Faults planted in the source on purpose: does a quick test notice each of them?"""
