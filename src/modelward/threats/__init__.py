"""One room per threat: what attacks a model, what is measured about it, and what remains."""
