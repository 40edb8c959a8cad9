"""What an instance tells of itself in numbers: the only room that knows Prometheus.

What happens is counted when it has happened (``operations``, ``transfers``, ``duties``,
``requests``, ``loop``); what is there is read when somebody asks (``tally``, ``figures``,
``process``). ``page`` writes them all. No label ever names an image, a project or a request, so
there are as many series after a year as on the first day.
"""
