"""How fast refbn trains beside others, and how much memory it needs: `make bench`.

`contenders` and `peers` hold what is timed, `measure` holds the clock, and `report` the tables.
"""
