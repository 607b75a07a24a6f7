"""A crowd to try servers with: real voters over real WebSockets. A client of the contract; knows nothing of the server.

``run.py`` leads through the run, ``voter.py`` is one voter, ``link.py`` its connection, ``api.py`` what goes over HTTP,
``report.py`` what is found, ``screen.py`` what people see of it.
"""

from app.simulate.api import Refused
from app.simulate.plan import MOST_POLLS, MOST_VOTERS, Plan, addresses
from app.simulate.report import Report
from app.simulate.run import TooFewFiles, simulate
from app.simulate.screen import Screen

__all__ = [
    "MOST_POLLS",
    "MOST_VOTERS",
    "Plan",
    "Refused",
    "Report",
    "Screen",
    "TooFewFiles",
    "addresses",
    "simulate",
]
