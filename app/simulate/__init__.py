"""A crowd to try servers with: real voters over real WebSockets. A client of the contract; knows nothing of the server.

``run.py`` leads through the run, ``voter.py`` is one voter, ``follower.py`` one who answers a deck, ``guest.py`` and
``link.py`` their connection, ``calls.py`` and ``api.py`` what goes over HTTP, ``report.py`` what is found, ``screen.py``
what people see of it.
"""

from .api import Refused
from .plan import MOST_POLLS, MOST_QUESTIONS, MOST_VOTERS, Plan, addresses
from .report import Report
from .run import TooFewFiles, simulate
from .screen import Screen

__all__ = [
    "MOST_POLLS",
    "MOST_QUESTIONS",
    "MOST_VOTERS",
    "Plan",
    "Refused",
    "Report",
    "Screen",
    "TooFewFiles",
    "addresses",
    "simulate",
]
