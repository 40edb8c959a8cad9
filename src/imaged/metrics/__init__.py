"""What an instance tells of itself in numbers: the only room that knows Prometheus.

What happens is counted when it has happened (the meters, ``loop_lag``); what is there is read at
each scrape (``counters``, ``state_gauges``, ``process_collector``). ``exposition`` writes them all.
No label ever names an image, a project or a request, so there are as many series after a year as on
the first day.
"""
