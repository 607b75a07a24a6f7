"""Real faults under a real load, and a check that nothing was lost, doubled or miscounted. ``scripts/faults`` runs them."""
