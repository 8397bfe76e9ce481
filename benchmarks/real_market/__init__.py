"""The fair trial: what adapting is worth on real prices, by a protocol that is written before the test spans are opened.

Run it with ``python -m benchmarks.real_market``; `benchmarks.real_market.__main__` lists the options. In the order in which
things happen:

=============  ==========================================================================
`protocol`     what will be compared, where, and how it is judged: a file with a hash
`looks`        the record of everyone who ever looked at a test span
`universes`    the bars of each universe, and of a user's own file, cut into tasks by `task_cuts`
`contenders`   the one table of what is compared; `frozen` and `variants` are what it needs
`described`    the settings of anything as plain JSON, for protocols and keys
`models`       trained models, kept on disk
`trial`        the walk-forwards
`comparison`   figures and differences, with intervals
`ladder`       five rungs, each reached or not
`verdict`      the ladders of a trial, and its JSON object
`text`         what is printed
`page`         what is written, with its two `pictures`
=============  ==========================================================================
"""
