"""Built-in tasks on small real data: dense nets, a convolutional net, the demonstration.

Every task factory lives at module level, so that ``wingbeat run wingbeat.zoo.dense:circles_task``
finds it.
"""
