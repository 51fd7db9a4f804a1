"""`make check`: every check of the repository, one line for each finding, and a table.

`__main__` runs the steps that `steps` names; `read` makes findings of what the tools say, and
`report` is the plugin by which pytest tells its results.
"""
