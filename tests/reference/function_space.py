"""Barriers, divergences, ensembles and statistics with plain loops."""

from __future__ import annotations

import math

import numpy as np


def softmax(logits):
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    return [w / sum(weights) for w in weights]


def kl(a, b):
    """Return the mean over samples of KL(p_a ‖ p_b); a and b are lists of lists of logits."""
    total = 0.0
    for first, second in zip(a, b, strict=True):
        p, q = softmax(first), softmax(second)
        total += sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    return total / len(a)


def js(a, b):
    total = 0.0
    for first, second in zip(a, b, strict=True):
        p, q = softmax(first), softmax(second)
        m = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
        total += sum(x * math.log(x / z) for x, z in zip(p, m, strict=True)) / 2
        total += sum(y * math.log(y / z) for y, z in zip(q, m, strict=True)) / 2
    return total / len(a)


def logit_correlation(a, b):
    xs = [x - sum(row) / len(row) for row in a for x in row]
    ys = [y - sum(row) / len(row) for row in b for y in row]
    return float(np.corrcoef(xs, ys)[0, 1])


def ensemble(scores, labels, combine):
    """Return (loss, accuracy, member losses, member accuracies)."""
    models, samples = len(scores), len(labels)
    loss, right = 0.0, 0
    for s, label in enumerate(labels):
        if combine == "probability":
            joint = np.mean([softmax(scores[m][s]) for m in range(models)], axis=0)
        else:
            joint = np.array(softmax(np.mean([scores[m][s] for m in range(models)], axis=0)))
        loss -= math.log(joint[label])
        right += int(np.argmax(joint) == label)
    own_loss, own_right = [], []
    for m in range(models):
        chances = [softmax(row) for row in scores[m]]
        own_loss.append(
            -sum(math.log(p[y]) for p, y in zip(chances, labels, strict=True)) / samples
        )
        hits = [int(np.argmax(r)) == y for r, y in zip(scores[m], labels, strict=True)]
        own_right.append(sum(hits) / samples)
    return loss / samples, right / samples, own_loss, own_right


def barrier(alphas, values, convention):
    """Return (height, alpha) of one curve."""
    best, where = -math.inf, 0.0
    heights = []
    for alpha, value in zip(alphas, values, strict=True):
        line = (1 - alpha) * values[0] + alpha * values[-1]
        heights.append(
            value - (values[0] + values[-1]) / 2 if convention == "mean" else value - line
        )
    if convention == "argmax_raw":
        place = int(np.argmax(values))
        return heights[place], alphas[place]
    for alpha, height in zip(alphas, heights, strict=True):
        if height > best:
            best, where = height, alpha
    return best, where
