"""The metrics of an instance; the only package that imports the Prometheus client.

Events are counted when they happen (the meters, ``loop_lag``); state is read at each scrape
(``counters``, ``state_gauges``, ``process_collector``). ``exposition`` writes the page. No label
names an image, a project or a request, so the number of series stays constant.
"""
