"""Tasks to try things on: their data, their models, and factories that return a ``wb.Task``.

Every factory is at module level, so that a study can name it, as in
``wingbeat.tasks.dense:circles_task``.
"""
