"""The metrics of an instance; the only package that imports the Prometheus client.

Events are counted when they happen (the meters); state is read at each scrape
(``counters``, ``state_gauges``, ``process_collector``). ``instruments`` writes the page. No label
names an image, a project or a request, so the number of series stays constant.
"""
