"""The permutation symmetries of as many architectures as can be had, in one command.

    python -m benchmarks.architectures RESULTS.jsonl [--seconds 230] [--markdown PAGE.md]

Every architecture is built with random weights and measured in a process of its own with a bound
on time and memory; what was measured stands in RESULTS.jsonl, and the same command goes on where it
stopped. Vision models come from torchvision and timm, language models from transformers, as far as
they are installed (``pip install wingbeat[tools]``); nothing is downloaded.
"""
