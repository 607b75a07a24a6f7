"""``scripts/demo --all``: one poll on everything that Pollroom runs with, and what each of them counted."""
